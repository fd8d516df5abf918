"""How long the model keeps a stream waiting: admission decides by this number whether it lets new streams in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from voxgate.inference.engine.base import Job, StreamLoad

__all__ = ["QueueDelay"]

RECENT_S: Final = 2.0
"""Calls that were taken longer ago say nothing about the present."""

SAMPLES: Final = 256
"""The largest number of recent calls."""

QUANTILE: Final = 0.9

CACHE_S: Final = 0.02
"""How long a measurement stays valid: a thousand refusals a second cost no more than fifty."""


class QueueDelay:
    """The waits of finals at the head of their stream.

    How long a stream waits for its own calls says nothing about the server: a client that sends a whole file always has
    calls waiting, and must not keep other clients out. So a call's wait counts only while its stream has no call
    running, and begins with its submit or with the end of the stream's last call, whichever is later.

    Two waits are measured: of calls that were taken recently, and of calls that still wait. The second shows at once
    that the model is stuck, when nothing is taken any more.
    """

    def __init__(self) -> None:
        self._loads: dict[object, StreamLoad] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # when taken, after which wait
        self._measured_s = float("-inf")
        self._wait_s = 0.0

    def on_submit(self, job: Job) -> None:
        """On the loop's thread, before a worker can take the job."""
        load = self._loads.get(job.stream)
        if load is None:
            load = self._loads[job.stream] = StreamLoad()
        load.n_pending += 1
        job.load = load

    def on_end(self, job: Job) -> None:
        """On the loop's thread, once after each `on_submit`: the job was answered, cancelled or refused."""
        load = job.load
        if load is not None:
            load.n_pending -= 1
            if not load.n_pending:
                del self._loads[job.stream]

    def on_take(self, jobs: Sequence[Job], now_s: float) -> None:
        """Any thread, with the scheduler's lock held."""
        for job in jobs:
            load = job.load
            if load is None:
                continue
            if job.final and not job.speculative and not load.n_running:
                self._recent.append((now_s, now_s - max(job.submitted_s, load.free_s)))
            load.n_running += 1

    def on_return(self, jobs: Sequence[Job], now_s: float) -> None:
        """The worker has returned jobs that it took. Any thread, with the scheduler's lock held."""
        for job in jobs:
            load = job.load
            if load is not None:
                load.n_running = max(0, load.n_running - 1)
                load.free_s = now_s

    def recent(self) -> list[tuple[float, float]]:
        """A snapshot for `measure`. Any thread, with the scheduler's lock held."""
        return list(self._recent)

    def cached(self, now_s: float) -> float | None:
        """The last measurement in seconds; None: it is too old. On the loop's thread."""
        return self._wait_s if now_s < self._measured_s + CACHE_S else None

    def measure(self, recent: Iterable[tuple[float, float]], pending: Iterable[Job], now_s: float) -> float:
        """The delay in seconds. `pending`: all jobs that are neither answered nor cancelled. On the loop's thread."""
        waits_s = sorted(wait_s for taken_s, wait_s in recent if taken_s >= now_s - RECENT_S)
        wait_s = waits_s[int(QUANTILE * len(waits_s))] if waits_s else 0.0
        for job in pending:
            load = job.load
            if job.final and not job.speculative and not job.taken_s and load is not None and not load.n_running:
                wait_s = max(wait_s, now_s - max(job.submitted_s, load.free_s))
        self._measured_s, self._wait_s = now_s, wait_s
        return wait_s
