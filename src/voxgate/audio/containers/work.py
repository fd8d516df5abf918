"""A bound for the work on a container that gives no audio."""

from __future__ import annotations

from typing import Final

from voxgate.audio.containers.base import MediaLimit

__all__ = ["PARTS_PER_S", "WorkBound"]

PARTS_PER_S: Final = 10_000
"""The default of `media.parts_per_s`: real files have less than 2000."""

_FIRST_S: Final = 10
"""A stream may have the parts of so many seconds before it has any audio."""


class WorkBound:
    """Compares the parts of a stream (elements, pages, packets, heads of joined streams) with its audio.

    What a demuxer counts does not depend on how the bytes were cut, and neither does the result.
    """

    def __init__(self, parts_per_s: int) -> None:
        self._parts_per_s = parts_per_s
        self.most_parts = _FIRST_S * parts_per_s
        """`check` raises for no smaller number."""

    def check(self, n_parts: int, decoded_s: float) -> None:
        """Raises MediaLimit when a stream of `decoded_s` seconds so far may not have so many parts."""
        self.most_parts = int((_FIRST_S + decoded_s) * self._parts_per_s)
        if n_parts > self.most_parts:
            raise MediaLimit(f"more than {self._parts_per_s} parts for each second of audio (media.parts_per_s)")
