"""SampleRing: what is held is what was pushed, at its place; everything else is refused, and refused whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fuzz.source import Source
from voxgate._native.ring import SampleRing


def fuzz(data: bytes) -> None:
    source = Source(data)
    bits = source.integer(0, 16)

    def samples(start_pos: int, end_pos: int) -> NDArray[np.float32]:
        """The stream: every sample is its own position, or audio of so many bits, at times a loud sample."""
        position = np.arange(start_pos, end_pos)
        if bits == 0:
            return position.astype(np.float32)
        whole = position * 40_503 % (1 << bits) - (1 << bits - 1)
        return (np.where(position % 1009, whole, -32_768) / 32_768).astype(np.float32)

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
        # At most what is held and two chunks that are not full, one that is spare, and the table of them.
        assert ring.nbytes <= (4 if bits == 0 else 2) * (end - start + 1534) + 64 + (end - start) // 512 * 33
    np.testing.assert_array_equal(ring.read(start, end), samples(start, end))


SEEDS = [bytes([255, 255, 0, 0, 255, 20, 0, 3, 9, 1, 2, 5, 6] * 4), bytes(range(256))]
