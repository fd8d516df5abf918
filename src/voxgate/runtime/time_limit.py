"""One time limit for several waits."""

from __future__ import annotations

import time

__all__ = ["TimeLimit"]


class TimeLimit:
    """Begins when it is made. Any thread."""

    def __init__(self, timeout_s: float | None) -> None:
        """timeout_s: at least 0; None: no limit."""
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s

    @property
    def left_s(self) -> float | None:
        """What is left, at least 0, as the `timeout` of the next wait; None: no limit."""
        return None if self._end_s is None else max(0.0, self._end_s - time.monotonic())
