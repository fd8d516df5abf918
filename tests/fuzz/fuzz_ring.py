"""SampleRing: what is held is what was pushed, at its place; everything else is refused, and refused whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fuzz.source import Source
from voxgate._native.ring import SampleRing


def samples(start_pos: int, end_pos: int) -> NDArray[np.float32]:
    """The stream: every sample is its own position."""
    return np.arange(start_pos, end_pos, dtype=np.float32)


def fuzz(data: bytes) -> None:
    source = Source(data)
    capacity = 1 + source.size(40_000)
    ring = SampleRing(capacity)
    start = end = 0  # of what must be held
    while source.left:
        what = source.integer(0, 3)
        if what <= 1:
            n = source.size(12_000)
            piece = samples(end, end + n)
            try:
                ring.push(np.repeat(piece, 2)[::2] if source.flag() else piece)
                assert end + n - start <= capacity
                end += n
            except BufferError:
                assert end + n - start > capacity
        else:
            asked = source.integer(start - 3, end + 3) if source.integer(0, 7) else source.pick((-(2**63), 2**63 - 1))
            to = source.integer(start - 3, end + 3)
            try:
                if what == 2:
                    got = ring.read(asked, to)
                    assert start <= asked <= to <= end
                    np.testing.assert_array_equal(got, samples(asked, to))
                else:
                    ring.discard_before(asked)
                    assert asked <= end
                    start = max(start, asked)
            except IndexError:
                assert asked > end or (what == 2 and not start <= asked <= to <= end)
        assert (ring.start_pos, ring.end_pos, len(ring)) == (start, end, end - start)
        # At most what is held and a half more, never more than the capacity and an eighth; in blocks of 4 KiB.
        assert ring.nbytes <= 4 * max(4096, 1024 + min(capacity + capacity // 8, max(end - start, 1) * 3 // 2 + 1024))
    np.testing.assert_array_equal(ring.read(start, end), samples(start, end))


SEEDS = [bytes([255, 255, 0, 0, 255, 20, 0, 3, 9, 1, 2, 5, 6] * 4), bytes(range(256))]
