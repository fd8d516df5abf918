"""A new place to run models needs the seam alone: an engine that runs every job where the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from voxgate.inference.engine import BatchLimits, Engine, EngineCounts, Job, JobOutcome, JobSource
from voxgate.inference.scheduler import Scheduler
from voxgate.models.base import Model, Samples
from voxgate.runtime.tasks import spawn_thread


class Summing(Model):
    name = "summing"
    sample_rate = 8_000

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        return {"sum": float(audio.sum())}


class ToyEngine:
    """One thread that takes one job at a time and calls the model."""

    kind = "toy"
    concurrency = 1

    def __init__(self) -> None:
        self._model = Summing()
        self._counts = EngineCounts()
        self._thread: Any = None

    @property
    def model(self) -> Model:
        return self._model

    @property
    def ready(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def stalled_s(self) -> float:
        return 0.0

    def start(self, source: JobSource) -> None:
        self._thread = spawn_thread(lambda: self._work(source), "toy-engine", daemon=True, subsystem="engine")

    def warm_up(self) -> float:
        return 0.0

    def stop(self, timeout_s: float | None = None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def counts(self) -> EngineCounts:
        return self._counts

    def _work(self, source: JobSource) -> None:
        while work := source.take(BatchLimits(1)):
            outcomes: list[JobOutcome] = [self._model.infer(work.batch[0])]
            self._counts.add_batch(outcomes, retried=False)
            source.finish(work.jobs, outcomes)


def test_a_scheduler_runs_jobs_on_an_engine_that_knows_only_the_seam() -> None:
    async def main() -> None:
        engine: Engine = ToyEngine()
        scheduler = Scheduler(engine, asyncio.get_running_loop())
        scheduler.start()
        assert await scheduler.warm_up() == 0.0
        done: asyncio.Queue[Job] = asyncio.Queue()
        for level in (1.0, 2.0, 3.0):
            scheduler.submit(Job(np.full(4, level, np.float32), 8_000, True, None, done.put_nowait))
        jobs = [await asyncio.wait_for(done.get(), 60) for _ in range(3)]
        assert [job.result for job in jobs] == [{"sum": 4.0}, {"sum": 8.0}, {"sum": 12.0}]
        assert scheduler.making_progress
        assert (engine.counts().batches, engine.counts().results) == (3, 3)
        scheduler.close()
        assert await scheduler.wait_closed(60)
        assert scheduler.pending == 0

    asyncio.run(main())
