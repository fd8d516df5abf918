"""Resampler: exact counts, the same bits however it is cut, any memory layout, values that stay near the input's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fuzz.source import Source
from reference.resample_ref import output_length
from voxgate._native.resample import MAX_RATE, MIN_RATE, Resampler

RATES = (4000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)


def a_rate(source: Source) -> int:
    return source.pick(RATES) if source.flag() else source.integer(MIN_RATE, MAX_RATE)


def laid_out(source: Source, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same samples, otherwise in memory."""
    layout = source.integer(0, 5)
    if layout == 1:
        return np.asfortranarray(planes)
    if layout == 2:
        return np.repeat(planes, 2, axis=1)[:, ::2]
    if layout == 3:
        return planes.astype(">f4") if source.flag() else planes[:, ::-1].copy()[:, ::-1]
    if layout == 4:
        shifted = np.zeros(planes.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(planes.shape)
        shifted[:] = planes
        return shifted
    if layout == 5:
        planes = planes.copy()
        planes.flags.writeable = False
    return planes


def fuzz(data: bytes) -> None:
    source = Source(data)
    from_rate, to_rate, channels = a_rate(source), a_rate(source), source.pick((1, 2, 3, 8))
    planes = np.stack([source.plane(n := source.size(6000))] + [source.plane(n) for _ in range(channels - 1)])
    whole = Resampler(from_rate, to_rate, channels)
    expected = np.concatenate([whole.push(planes), whole.finish()], axis=1)
    assert expected.shape == (channels, output_length(n, from_rate, to_rate))
    # The taps' absolute sum bounds what any input in -1..1 can become.
    assert np.abs(expected).max(initial=0) < 8
    cut = Resampler(from_rate, to_rate, channels)
    if source.flag():
        cut.push(np.ones((channels, source.size(3000)), np.float32))
        if source.flag():
            cut.finish()
        cut.reset()
    parts, taken = [], 0
    while source.left and taken < n:
        size = min(source.size(3000), n - taken)
        parts.append(cut.push(laid_out(source, planes[:, taken : taken + size])))
        taken += size
        assert (cut.consumed, cut.produced) == (taken, sum(part.shape[1] for part in parts))
    parts += [cut.push(planes[:, taken:]), cut.finish()]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)
    assert (cut.consumed, cut.produced) == (0, 0)


SEEDS = [bytes([1, a, 1, b, 1]) + bytes(range(7, 120)) for a, b in ((6, 3), (5, 3), (1, 3), (3, 3))]
