"""How often a client gets interim results of running calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voxgate.inference.engine.base import Job
from voxgate.protocol.output import Output

if TYPE_CHECKING:
    import asyncio

    from voxgate.inference.scheduler import Scheduler

__all__ = ["InterimPace"]


class InterimPace:
    """Passes interim results of one session on, at most `per_s` a second. Of each call, the newest one waits for its
    turn. On the loop's thread.
    """

    __slots__ = ("_due_s", "_interval_s", "_scheduler", "_send", "_timer", "_waiting")

    def __init__(self, per_s: float, scheduler: Scheduler) -> None:
        """On the loop and the clock of `scheduler`."""
        self._interval_s = 1 / per_s
        self._scheduler = scheduler
        self._send: Callable[[Job, Output], None] | None = None  # While one waits: it refers to the session.
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Job, Output] = {}

    def offer(self, job: Job, output: Output, send: Callable[[Job, Output], None]) -> None:
        """Passes a new interim result of `job` to `send`, now or when it is its turn."""
        now_s = self._scheduler.clock()
        if self._timer is None and now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            send(job, output)
            return
        self._waiting[job], self._send = output, send
        if self._timer is None:
            self._timer = self._scheduler.loop.call_later(self._due_s - now_s, self._next)

    def forget(self, job: Job) -> None:
        """The call is over."""
        self._waiting.pop(job, None)

    def stop(self) -> None:
        self._waiting.clear()
        self._send = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._timer = None
        send = self._send
        if not self._waiting or send is None:
            self._send = None
            return
        job = next(iter(self._waiting))
        output = self._waiting.pop(job)
        self._due_s = self._scheduler.clock() + self._interval_s
        if self._waiting:
            self._timer = self._scheduler.loop.call_later(self._interval_s, self._next)
        else:
            self._send = None
        send(job, output)
