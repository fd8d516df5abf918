"""The timer of the nearest deadline."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator

from voxgate.inference.engine.base import Job

__all__ = ["Deadlines"]

_TIMER_GRAIN_S = 0.002
"""Event loops round their timers, some of them down: a deadline that is this near has passed."""


class Deadlines:
    """The pending jobs in the order of their deadlines, which is the order of their submits. On the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        deadline_s: float,
        on_expired: Callable[[list[Job], float], None],
    ) -> None:
        """`deadline_s`: from each submit. `on_expired`: called with the jobs whose deadline has passed, oldest first,
        and with the time; they stay pending until `discard`. `clock`: seconds.
        """
        self._loop = loop
        self._clock = clock
        self._deadline_s = deadline_s
        self._on_expired = on_expired
        self._jobs: OrderedDict[Job, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def add(self, job: Job) -> None:
        """`job.deadline_s` is `deadline_s` from now."""
        self._jobs[job] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline_s, self._check)

    def discard(self, job: Job) -> bool:
        """False: the job was not pending."""
        return self._jobs.pop(job, job) is None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        now_s = self._clock()
        expired: list[Job] = []
        for job in self._jobs:
            if job.deadline_s > now_s + _TIMER_GRAIN_S:
                self._timer = self._loop.call_later(job.deadline_s - now_s, self._check)
                break
            expired.append(job)
        if expired:
            self._on_expired(expired, now_s)
