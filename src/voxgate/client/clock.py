"""The time that paces audio. Tests replace it."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Clock", "LoopClock"]


class Clock(Protocol):
    """A monotonic time in seconds, and waiting for a time."""

    def time(self) -> float: ...

    async def sleep_until(self, when: float) -> None: ...


class LoopClock:
    """The clock of the running event loop."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, when: float) -> None:
        if (delay_s := when - self.time()) > 0:
            await asyncio.sleep(delay_s)
