"""The delay before a process that has ended is started again."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """`base_s`, doubled for each end in a row, at most `max_s`. `reset` ends the row. Not thread-safe."""

    def __init__(self, base_s: float, max_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self.in_a_row = 0

    def reset(self) -> None:
        self.in_a_row = 0

    def next_s(self) -> float:
        self.in_a_row += 1
        return min(self._base_s * 2.0 ** min(self.in_a_row - 1, 64), self._max_s)
