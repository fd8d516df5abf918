"""How often a client gets interim results of running calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voxgate.inference.engine.base import Job
from voxgate.protocol.output import Output

__all__ = ["InterimPace"]


class InterimPace:
    """Passes interim results of one session on, at most `per_s` a second. Of each call, the newest one waits for its
    turn. On the loop's thread.
    """

    __slots__ = ("_clock", "_due_s", "_interval_s", "_loop", "_send", "_timer", "_waiting")

    def __init__(
        self,
        per_s: float,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        send: Callable[[Job, Output], None],
    ) -> None:
        """`clock`: seconds. `send` passes a result on; it may find that the call does not need it."""
        self._interval_s = 1 / per_s
        self._loop = loop
        self._clock = clock
        self._send = send
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Job, Output] = {}

    def offer(self, job: Job, output: Output) -> None:
        """A new interim result of `job`."""
        now_s = self._clock()
        if self._timer is None and now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            self._send(job, output)
            return
        self._waiting[job] = output
        if self._timer is None:
            self._timer = self._loop.call_later(self._due_s - now_s, self._next)

    def forget(self, job: Job) -> None:
        """The call is over."""
        self._waiting.pop(job, None)

    def stop(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        job = next(iter(self._waiting))
        output = self._waiting.pop(job)
        self._due_s = self._clock() + self._interval_s
        if self._waiting:
            self._timer = self._loop.call_later(self._interval_s, self._next)
        self._send(job, output)
