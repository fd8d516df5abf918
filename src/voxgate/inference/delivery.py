"""The way of finished jobs from the workers to the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

from voxgate.inference.engine.base import Job

__all__ = ["Delivery"]

logger = logging.getLogger("voxgate.inference.scheduler")

_DELIVERIES_PER_TURN = 64
"""Jobs delivered in one turn of the loop; each costs some tens of microseconds, and a turn should stay below about 2
ms."""


class Delivery:
    """Hands finished jobs to `deliver` on the loop's thread: with one wake-up, however many jobs finish until the
    loop runs.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: threading.Lock,
        deliver: Callable[[list[Job]], None],
    ) -> None:
        """`lock`: the scheduler's. `deliver` must not raise."""
        self._loop = loop
        self._lock = lock
        self._deliver = deliver
        self._finished: deque[Job] = deque()
        self._is_scheduled = False

    def __len__(self) -> int:
        return len(self._finished)

    def add(self, job: Job) -> None:
        """Any thread, with the lock held; `claim` follows."""
        self._finished.append(job)

    def claim(self) -> bool:
        """Whether the caller must call `wake` or `schedule` when it has released the lock: there are finished jobs and
        `run` is not scheduled yet. Any thread, with the lock held.
        """
        if self._is_scheduled or not self._finished:
            return False
        self._is_scheduled = True
        return True

    def wake(self) -> None:
        """Any thread."""
        try:
            self._loop.call_soon_threadsafe(self.run)
        except RuntimeError:
            logger.debug("results came after the event loop was closed")

    def schedule(self) -> None:
        """On the loop's thread."""
        self._loop.call_soon(self.run)

    def attend(self, wake_workers: Callable[[], None]) -> None:
        """Calls `wake_workers`, and delivers what they have finished when it returns. It gives the GIL away: a worker
        that takes it has often finished before the loop has it back, and need not wake the loop. On the loop's thread.
        """
        with self._lock:
            is_ours, self._is_scheduled = not self._is_scheduled, True
        wake_workers()
        if is_ours:
            self.run()

    def run(self) -> None:
        """Delivers finished jobs, at most 64, and schedules itself for the rest. On the loop's thread."""
        with self._lock:
            n_jobs = min(len(self._finished), _DELIVERIES_PER_TURN)
            jobs = [self._finished.popleft() for _ in range(n_jobs)]
            is_more = self._is_scheduled = bool(self._finished)
        if is_more:
            self._loop.call_soon(self.run)
        self._deliver(jobs)
