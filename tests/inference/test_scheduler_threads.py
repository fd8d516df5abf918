"""The scheduler with real threads and a real loop."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.base import Job
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.scheduler import Scheduler
from voxgate.models.base import Batch, Model
from voxgate.models.dummy import Dummy

WAIT_S = 30


class Echo(Model):
    def infer(self, audio: np.ndarray) -> Any:
        return {"count": len(audio)}


def serve(engine: ThreadEngine, main: Callable[[Scheduler], Any], **arguments: Any) -> Any:
    async def run() -> Any:
        scheduler = Scheduler(engine, asyncio.get_running_loop(), **arguments)
        scheduler.start()
        try:
            return await asyncio.wait_for(main(scheduler), WAIT_S)
        finally:
            scheduler.close()
            assert await scheduler.wait_closed(WAIT_S)

    return asyncio.run(run())


def ask(scheduler: Scheduler, n_samples: int = 1, final: bool = True) -> asyncio.Future[Job]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Job] = loop.create_future()
    thread = threading.get_ident()

    def on_done(job: Job) -> None:
        assert threading.get_ident() == thread
        answer.set_result(job)  # Raises when it is called twice.

    scheduler.submit(Job(np.zeros(n_samples, np.float32), 16_000, final, object(), on_done))
    return answer


def test_every_job_gets_its_own_answer() -> None:
    async def main(scheduler: Scheduler) -> None:
        jobs = await asyncio.gather(*(ask(scheduler, n) for n in range(500)))
        assert [job.result for job in jobs] == [{"count": n} for n in range(500)]
        counts = scheduler.counts()
        assert (counts.submitted, counts.answered) == (500, 500)
        assert 1 <= counts.wake_ups <= 500
        assert all(job.queue_s >= 0 and job.run_s >= 0 for job in jobs)

    serve(ThreadEngine(Echo(), threads=4), main)


def test_jobs_that_wait_run_as_a_batch() -> None:
    entered, gate = threading.Event(), threading.Event()
    batches: list[int] = []

    class Gated(Echo):
        def infer(self, audio: np.ndarray) -> Any:
            entered.set()
            assert gate.wait(WAIT_S)
            return super().infer(audio)

        def infer_batch(self, batch: Batch) -> Any:
            batches.append(len(batch))
            return [{"count": int(n)} for n in batch.lengths]

    async def main(scheduler: Scheduler) -> None:
        first = ask(scheduler, 1)
        while not entered.is_set():
            await asyncio.sleep(0)
        others = [ask(scheduler, n) for n in range(2, 12)]
        gate.set()
        assert (await first).result == {"count": 1}
        jobs = await asyncio.gather(*others)
        assert [job.result for job in jobs] == [{"count": n} for n in range(2, 12)]
        assert batches == [8, 2]
        assert [job.batch_size for job in jobs] == [8] * 8 + [2] * 2

    serve(ThreadEngine(Gated(), threads=1, max_batch_size=8), main)


def test_models_that_fail_in_every_way_leave_the_others_alone() -> None:
    class Wild(Echo):
        def infer(self, audio: np.ndarray) -> Any:
            if len(audio) % 3 == 1:
                raise SystemExit
            if len(audio) % 3 == 2:
                raise InferenceError("for the client")
            return super().infer(audio)

    async def main(scheduler: Scheduler) -> None:
        jobs = await asyncio.gather(*(ask(scheduler, n) for n in range(90)))
        assert [job.result for job in jobs[0::3]] == [{"count": n} for n in range(0, 90, 3)]
        assert {str(job.error) for job in jobs[1::3]} == {"Internal server error"}
        assert {type(job.error) for job in jobs[1::3]} == {InternalError}
        assert {str(job.error) for job in jobs[2::3]} == {"for the client"}

    engine = ThreadEngine(Wild(), threads=3)
    serve(engine, main)
    counts = engine.counts()
    assert (counts.results, counts.failures, counts.inference_errors) == (30, 30, 30)


def test_cancelling_under_load_loses_and_doubles_nothing() -> None:
    async def main(scheduler: Scheduler) -> None:
        answered: list[Job] = []
        jobs = [Job(np.zeros(n % 7, np.float32), 16_000, n % 2 == 0, n % 99, answered.append) for n in range(2000)]
        cancelled: set[Job] = set()
        for n, job in enumerate(jobs):
            scheduler.submit(job)
            if n % 5 == 4:
                victim = jobs[n - 2]
                if victim not in answered:
                    scheduler.cancel(victim)
                    cancelled.add(victim)
            if n % 50 == 0:
                await asyncio.sleep(0)
        while len(answered) < len(jobs) - len(cancelled):
            await asyncio.sleep(0)
        assert len(answered) == len(set(answered))
        assert set(answered) == set(jobs) - cancelled
        assert scheduler.counts().cancelled == len(cancelled)

    serve(ThreadEngine(Echo(), threads=4), main)


def test_closing_under_load_answers_everything() -> None:
    async def main() -> None:
        answered: list[Job] = []
        entered = threading.Event()

        class Slow(Echo):
            def infer(self, audio: np.ndarray) -> Any:
                entered.set()
                return super().infer(audio)

        scheduler = Scheduler(ThreadEngine(Slow(), threads=2), asyncio.get_running_loop())
        scheduler.start()
        for n in range(1000):
            scheduler.submit(Job(np.zeros(n, np.float32), 16_000, True, n % 99, answered.append))
        entered.wait(WAIT_S)
        scheduler.close()
        assert await scheduler.wait_closed(WAIT_S)
        assert len(set(answered)) == len(answered) == 1000
        for job in answered:
            assert (job.result is None) != (job.error is None)

    asyncio.run(main())


def test_calls_of_the_dummy_sleep_side_by_side() -> None:
    n = 64
    barrier = threading.Barrier(n, timeout=WAIT_S)  # Passed only when all calls sleep at the same time.
    model = Dummy(panic_rate=0)
    model.sleep = lambda _: barrier.wait()

    async def main(scheduler: Scheduler) -> None:
        jobs = await asyncio.gather(*(ask(scheduler, k) for k in range(n)))
        assert [job.result for job in jobs] == [{"count": k} for k in range(n)]

    serve(ThreadEngine(model), main)


def test_a_warm_up_that_fails_is_raised_to_who_waits_for_it() -> None:
    class Cold(Echo):
        def warm_up(self) -> None:
            raise OSError("no weights")

    async def main(scheduler: Scheduler) -> None:
        with pytest.raises(ModelLoadError, match="warm-up of model 'Cold' failed: OSError: no weights"):
            await scheduler.warm_up()

    serve(ThreadEngine(Cold(), threads=1), main)


def test_the_loop_runs_on_while_the_model_computes() -> None:
    gate = threading.Event()

    class Gated(Echo):
        def infer(self, audio: np.ndarray) -> Any:
            assert gate.wait(WAIT_S)
            return {}

    async def main(scheduler: Scheduler) -> None:
        answer = ask(scheduler)
        for _ in itertools.repeat(None, 100):
            await asyncio.sleep(0)
        assert not answer.done()
        gate.set()
        assert (await answer).result == {}

    serve(ThreadEngine(Gated(), threads=1), main)
