"""A clock for the client."""

from __future__ import annotations

import asyncio

__all__ = ["FakeClock"]


class FakeClock:
    """Waiting takes no time, but the clock says that it did: `late_s` more than was asked for."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.late_s = late_s
        self.asked: list[float] = []

    def time(self) -> float:
        return self.now_s

    async def sleep_until(self, when: float) -> None:
        self.asked.append(when)
        self.now_s = max(self.now_s, when + self.late_s)
        await asyncio.sleep(0)
