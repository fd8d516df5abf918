"""A job's round trip from the loop's thread to a worker and back, beside what asyncio offers for it.

The model does nothing, so that what is measured is the way there and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from voxgate.inference.engine.base import Job
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.scheduler import Scheduler
from voxgate.models.base import Batch, Model

AUDIO = np.zeros(320, np.float32)
THREADS = 2


class Nothing(Model):
    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {"count": len(audio)}


class NothingInBatches(Nothing):
    def infer_batch(self, batch: Batch) -> list[Mapping[str, Any]]:
        return [{"count": int(length)} for length in batch.lengths]


class Trip:
    """`n_jobs` jobs are submitted at once; a round ends when the last one is answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scheduler: Scheduler) -> None:
        self.loop, self.scheduler = loop, scheduler

    def __call__(self, n_jobs: int) -> None:
        self.loop.run_until_complete(self._round(n_jobs))

    async def _round(self, n_jobs: int) -> None:
        done = self.loop.create_future()
        left = n_jobs

        def on_done(job: Job) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set_result(None)

        for _ in range(n_jobs):
            self.scheduler.submit(Job(AUDIO, 16_000, True, self, on_done))
        await done


@contextmanager
def voxgate_trip(model: Model) -> Iterator[Callable[[int], None]]:
    loop = asyncio.new_event_loop()
    scheduler = Scheduler(ThreadEngine(model, THREADS), loop)
    scheduler.start()
    try:
        yield Trip(loop, scheduler)
    finally:
        scheduler.close()
        loop.run_until_complete(scheduler.wait_closed())
        loop.close()


@contextmanager
def executor_trip(model: Model) -> Iterator[Callable[[int], None]]:
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(THREADS) as pool:

        async def round_(n_jobs: int) -> None:
            await asyncio.gather(*(loop.run_in_executor(pool, model.infer, AUDIO) for _ in range(n_jobs)))

        yield lambda n_jobs: loop.run_until_complete(round_(n_jobs))
    loop.close()


@pytest.mark.parametrize("n_jobs", [1, 64])
def test_voxgate_round_trip(benchmark: Any, n_jobs: int) -> None:
    benchmark.group = f"round trip of {n_jobs} jobs"
    with voxgate_trip(Nothing()) as trip:
        benchmark(trip, n_jobs)


@pytest.mark.parametrize("n_jobs", [64])
def test_voxgate_batching_round_trip(benchmark: Any, n_jobs: int) -> None:
    benchmark.group = f"round trip of {n_jobs} jobs"
    with voxgate_trip(NothingInBatches()) as trip:
        benchmark(trip, n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 64])
def test_run_in_executor_round_trip(benchmark: Any, n_jobs: int) -> None:
    benchmark.group = f"round trip of {n_jobs} jobs"
    with executor_trip(Nothing()) as trip:
        benchmark(trip, n_jobs)
