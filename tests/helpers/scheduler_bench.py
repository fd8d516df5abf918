"""A scheduler without a loop, workers and time of its own: the test is all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from voxgate.inference.engine.base import BatchLimits, EngineCounts, Job, JobOutcome, JobSource
from voxgate.inference.scheduler import Scheduler
from voxgate.models.base import Model


def results(jobs: Sequence[Job]) -> list[JobOutcome]:
    return [{"i": i} for i in range(len(jobs))]


class FakeLoop:
    """Keeps what it is asked to call until the test lets it."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None], Timer]] = []
        self.n_wake_ups = 0
        self.closed = False

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.n_wake_ups += 1
        self.ready.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append((delay_s, callback, Timer()))
        return self.timers[-1][2]

    def turn(self) -> None:
        """One turn: what is ready now, and nothing that becomes ready by it."""
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class NoEngine:
    """An engine whose worker is the test itself."""

    concurrency = 1
    ready = True
    stalled_s = 0.0

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or Model()
        self.source: JobSource | None = None
        self.stops: list[float | None] = []
        self.stopped = True

    def start(self, source: JobSource) -> None:
        self.source = source

    def warm_up(self) -> float:
        return 1.5

    def stop(self, timeout_s: float | None = None) -> bool:
        self.stops.append(timeout_s)
        return self.stopped

    def counts(self) -> EngineCounts:
        return EngineCounts()


class Bench:
    """A scheduler on a fake loop, a clock that moves by hand, and a list of what was answered."""

    def __init__(self, **arguments: Any) -> None:
        self.loop = FakeLoop()
        self.now_s = 100.0
        self.engine = NoEngine()
        self.scheduler = Scheduler(self.engine, self.loop, clock=lambda: self.now_s, **arguments)  # type: ignore[arg-type]
        self.answered: list[Job] = []

    def job(
        self,
        final: bool = True,
        on_done: Callable[[Job], None] | None = None,
        n_samples: int = 1,
        stream: object = None,
        rate: int = 16_000,
        **fields: Any,
    ) -> Job:
        audio = np.arange(n_samples, dtype=np.float32)
        return Job(audio, rate, final, stream, on_done or self.answered.append, **fields)

    def submit(self, n_jobs: int = 1, final: bool = True, **arguments: Any) -> list[Job]:
        jobs = [self.job(final, **arguments) for _ in range(n_jobs)]
        for job in jobs:
            self.scheduler.submit(job)
        return jobs

    def take(self, max_items: int) -> list[Job]:
        work = self.scheduler.take(BatchLimits(max_items))
        return [] if work is None else work.jobs

    def work(self, max_items: int = 1) -> list[Job]:
        """Does what a worker does, once."""
        jobs = self.take(max_items)
        self.scheduler.finish(jobs, results(jobs))
        return jobs

    def turn(self) -> list[Job]:
        """One turn of the loop; returns what was answered in it."""
        before = len(self.answered)
        self.loop.turn()
        return self.answered[before:]

    def wait(self, seconds: float) -> None:
        """Lets time pass, in one step; then runs the timers that are due."""
        self.now_s += seconds
        timers, self.loop.timers = self.loop.timers, []
        for delay_s, callback, timer in timers:
            if delay_s > seconds:
                self.loop.timers.append((delay_s - seconds, callback, timer))
            elif not timer.cancelled:
                callback()
