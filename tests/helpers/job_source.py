"""A source of jobs for an engine, in place of a scheduler, and jobs for the models of `worker_models`."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import worker_models as does
from voxgate._native.batch import Interrupt
from voxgate.errors import InferenceError
from voxgate.inference.engine.base import BatchLimits, Job, JobOutcome, Pin, Work
from voxgate.models.base import Batch
from voxgate.protocol.output import Output

WAIT_S = 60
"""How long a test waits before it gives up; nothing takes that long."""
DIED = "worker died"


def job(what: int = does.COUNT, n_samples: int = 4, final: bool = True, within_s: float = math.inf) -> Job:
    audio = np.zeros(n_samples, np.float32)
    if n_samples:
        audio[0] = what
    made = Job(audio, 8_000, final, None, lambda job: None)
    made.submitted_s = time.perf_counter()
    made.deadline_s = made.submitted_s + within_s
    made.pending = True
    return made


class Source:
    """What a scheduler is to an engine. Batches are taken as they were put; a job that came back runs before them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batches: deque[list[Job]] = deque()
        self._closed = False
        self.outcomes: dict[Job, JobOutcome] = {}
        self.taken: list[list[Job]] = []
        self.limits: list[BatchLimits] = []
        self.partials: list[tuple[Job, Output]] = []

    def take(
        self, limits: BatchLimits, arena: Any = None, interrupt: Interrupt | None = None, pin: Pin | None = None
    ) -> Work | None:
        assert interrupt is not None

        def next_batch() -> list[Job] | None:
            return next((jobs for jobs in self._batches if _pin_of(jobs) in (None, pin)), None)

        with self._changed:
            self.limits.append(limits)
            self._changed.wait_for(lambda: next_batch() or self._closed or interrupt.is_set)
            jobs = next_batch()
            if interrupt.is_set or not jobs:
                return None
            self._batches.remove(jobs)
            self.taken.append(jobs)
            self._changed.notify_all()
        for taken in jobs:
            taken.attempts += 1
        batch = Batch.gather([taken.audio for taken in jobs])
        audio = np.frombuffer(arena, np.float32, batch.audio.size).reshape(batch.audio.shape)
        audio[:] = batch.audio
        return Work(jobs, Batch(audio, batch.lengths))

    def interrupt(self, interrupt: Interrupt) -> None:
        with self._changed:
            interrupt.set()
            self._changed.notify_all()

    def unpin(self, pin: Pin) -> None:
        with self._changed:
            pin.is_lost = True
            lost = [jobs for jobs in self._batches if _pin_of(jobs) is pin]
            for jobs in lost:
                self._batches.remove(jobs)
        for jobs in lost:
            self.finish(jobs, [InferenceError(DIED)])

    def partial(self, job: Job, output: Output) -> None:
        with self._changed:
            self.partials.append((job, output))
            self._changed.notify_all()

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[JobOutcome]) -> None:
        with self._changed:
            for done, outcome in zip(jobs, outcomes, strict=True):
                assert done not in self.outcomes, "answered twice"
                self.outcomes[done] = outcome
            self._changed.notify_all()

    def requeue(self, jobs: Sequence[Job]) -> None:
        for back in jobs:
            if back.state is not None:
                back.state.lost = back.state.pin is not None
        again = [
            back
            for back in jobs
            if back.final and back.attempts < 2 and not self._closed and not (back.state and back.state.lost)
        ]
        lost = [back for back in jobs if back not in again]
        self.finish(lost, [InferenceError(DIED)] * len(lost))
        with self._changed:
            if again:
                self._batches.appendleft(again)
            self._changed.notify_all()

    # --- the test's side ---

    def put(self, *jobs: Job) -> None:
        with self._changed:
            self._batches.append(list(jobs))
            self._changed.notify_all()

    def wait(self, *jobs: Job) -> list[JobOutcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: all(each in self.outcomes for each in jobs), WAIT_S)
            return [self.outcomes[each] for each in jobs]

    def wait_taken(self, n_batches: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= n_batches, WAIT_S)

    def wait_partials(self, n_partials: int) -> list[Output]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.partials) >= n_partials, WAIT_S)
            return [output for _, output in self.partials]

    def run(self, *jobs: Job) -> list[JobOutcome]:
        self.put(*jobs)
        return self.wait(*jobs)

    def one(self, what: int, **more: Any) -> Any:
        return self.run(job(what, **more))[0]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _pin_of(jobs: Sequence[Job]) -> Pin | None:
    return jobs[0].state.pin if jobs[0].state is not None else None
