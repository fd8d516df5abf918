from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from voxgate import scheduler as scheduler_module
from voxgate.engine.base import EngineCounts, Job, JobSource, Outcome
from voxgate.engine.threads import ThreadEngine
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError, Overloaded
from voxgate.models.base import Batch, Model
from voxgate.models.dummy import Dummy
from voxgate.scheduler import Lanes, Scheduler

WAIT_S = 30


class FakeLoop:
    """Keeps what it is asked to call until the test lets it."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []
        self.n_wake_ups = 0
        self.closed = False

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.n_wake_ups += 1
        self.ready.append(callback)

    def turn(self) -> None:
        """One turn: what is ready now, and nothing that becomes ready by it."""
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


class NoEngine:
    """An engine whose worker is the test itself."""

    concurrency = 1
    ready = True

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

    def job(self, final: bool = True, on_done: Callable[[Job], None] | None = None) -> Job:
        return Job(np.zeros(1, np.float32), 16_000, final, None, on_done or self.answered.append)

    def submit(self, n_jobs: int = 1, final: bool = True) -> list[Job]:
        jobs = [self.job(final) for _ in range(n_jobs)]
        for job in jobs:
            self.scheduler.submit(job)
        return jobs

    def work(self, max_jobs: int = 1) -> list[Job]:
        """Does what a worker does, once."""
        jobs = self.scheduler.take(max_jobs)
        self.scheduler.finish(jobs, results(jobs))
        return jobs


def results(jobs: Sequence[Job]) -> list[Outcome]:
    return [{"i": i} for i in range(len(jobs))]


# --- which job is next ---


def test_finals_before_interims_and_first_come_first_served() -> None:
    bench = Bench()
    jobs = [bench.job(final) for final in (False, True, False, True, True)]
    for job in jobs:
        bench.scheduler.submit(job)
    assert bench.scheduler.depths() == {"final": 3, "interim": 2, "running": 0}
    taken = [bench.scheduler.take(1)[0] for _ in jobs]
    assert taken == [jobs[1], jobs[3], jobs[4], jobs[0], jobs[2]]
    assert bench.scheduler.depths() == {"final": 0, "interim": 0, "running": 5}


@pytest.mark.parametrize(("waiting", "wanted", "taken"), [(5, 3, 3), (3, 3, 3), (2, 3, 2), (1, 16, 1)])
def test_a_worker_takes_what_is_there_up_to_its_limit(waiting: int, wanted: int, taken: int) -> None:
    bench = Bench()
    jobs = bench.submit(waiting)
    batch = bench.scheduler.take(wanted)
    assert batch == jobs[:taken]
    assert [job.batch_size for job in batch] == [taken] * taken


def test_a_batch_is_filled_up_with_interims() -> None:
    bench = Bench()
    (interim,) = bench.submit(final=False)
    (final,) = bench.submit()
    assert bench.scheduler.take(8) == [final, interim]


def test_lanes_give_up_any_job_once() -> None:
    bench, lanes = Bench(), Lanes()
    a, b, c = bench.job(), bench.job(False), bench.job()
    for job in (a, b, c):
        lanes.push(job)
    assert lanes.remove(a)
    assert not lanes.remove(a)
    assert len(lanes) == 2
    assert list(lanes.drain()) == [c, b]
    with pytest.raises(KeyError):
        lanes.pop()


# --- answers ---


def test_an_answer_comes_on_the_loop_and_not_before() -> None:
    bench = Bench()
    (job,) = bench.submit()
    bench.work()
    assert bench.answered == []
    bench.loop.turn()
    assert bench.answered == [job]
    assert job.result == {"i": 0}
    assert job.error is None


@pytest.mark.parametrize("error", [InferenceError("no"), InternalError("Internal server error")])
def test_an_error_is_an_answer(error: Exception) -> None:
    bench = Bench()
    (job,) = bench.submit()
    bench.scheduler.finish(bench.scheduler.take(1), [error])  # type: ignore[list-item]
    bench.loop.turn()
    assert bench.answered == [job]
    assert (job.result, job.error) == (None, error)


def test_times_are_measured_by_the_clock() -> None:
    bench = Bench()
    first, second = bench.submit(2)
    bench.now_s += 3
    jobs = bench.scheduler.take(1)
    bench.now_s += 4
    bench.scheduler.finish(jobs, results(jobs))
    bench.work()
    assert (first.queue_s, first.run_s) == (3, 4)
    assert (second.queue_s, second.run_s) == (7, 0)


def test_one_wake_up_for_a_batch() -> None:
    bench = Bench()
    jobs = bench.submit(10)
    bench.work(10)
    assert bench.loop.n_wake_ups == 1
    bench.loop.turn()
    assert bench.answered == jobs
    assert bench.loop.ready == []
    assert bench.scheduler.counts().wake_ups == 1


def test_no_wake_up_is_added_to_one_that_is_pending() -> None:
    bench = Bench()
    jobs = bench.submit(5)
    for _ in jobs:
        bench.work()
    assert bench.loop.n_wake_ups == 1
    bench.loop.turn()
    assert bench.answered == jobs
    bench.submit()
    bench.work()
    assert bench.loop.n_wake_ups == 2
    assert bench.scheduler.counts().wake_ups == 2


def test_what_finishes_during_delivery_gets_a_wake_up_of_its_own() -> None:
    bench = Bench()
    late = bench.job()

    def on_done(job: Job) -> None:
        bench.scheduler.submit(late)
        bench.work()

    bench.scheduler.submit(bench.job(on_done=on_done))
    bench.work()
    bench.loop.turn()
    assert bench.answered == []
    bench.loop.turn()
    assert bench.answered == [late]
    assert bench.loop.n_wake_ups == 2


def test_no_wake_up_when_nobody_waits_for_any_of_a_batch() -> None:
    bench = Bench()
    jobs = bench.submit(2)
    taken = bench.scheduler.take(2)
    for job in jobs:
        bench.scheduler.cancel(job)
    bench.scheduler.finish(taken, results(taken))
    assert bench.loop.n_wake_ups == 0


def test_a_turn_of_the_loop_answers_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "_DELIVERIES_PER_TURN", 4)
    bench = Bench()
    jobs = bench.submit(9)
    bench.work(9)
    sizes = []
    while bench.loop.ready:
        bench.loop.turn()
        sizes.append(len(bench.answered))
    assert sizes == [4, 8, 9]
    assert bench.answered == jobs
    assert bench.loop.n_wake_ups == 1


def test_an_answer_that_fails_is_logged_and_the_others_are_given(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def broken(job: Job) -> None:
        raise ZeroDivisionError

    bench.scheduler.submit(bench.job(on_done=broken))
    (job,) = bench.submit()
    bench.work(2)
    bench.loop.turn()
    assert bench.answered == [job]
    assert "a bug of ours: answering a job failed" in caplog.text
    assert bench.scheduler.counts().callback_failures == 1


def test_a_loop_that_is_gone_does_not_harm_a_worker() -> None:
    bench = Bench()
    bench.submit()
    bench.loop.closed = True
    bench.work()


def test_a_wrong_number_of_outcomes_is_our_bug() -> None:
    bench = Bench()
    bench.submit(2)
    with pytest.raises(AssertionError, match="1 outcomes for 2 jobs"):
        bench.scheduler.finish(bench.scheduler.take(2), [{}])


# --- cancelling ---


@pytest.mark.parametrize("final", [True, False])
def test_a_queued_job_that_is_cancelled_never_runs(final: bool) -> None:
    bench = Bench()
    first, second, third = bench.submit(3, final)
    assert bench.scheduler.cancel(second) is True
    assert bench.work(3) == [first, third]
    bench.loop.turn()
    assert bench.answered == [first, third]
    assert second.cancelled
    assert (second.result, second.error) == (None, None)


def test_the_outcome_of_a_running_job_that_is_cancelled_is_dropped() -> None:
    bench = Bench()
    (job,) = bench.submit()
    taken = bench.scheduler.take(1)
    assert bench.scheduler.cancel(job) is False
    bench.scheduler.finish(taken, results(taken))
    bench.loop.turn()
    assert bench.answered == []
    assert job.result is None
    assert bench.scheduler.depths()["running"] == 0


def test_a_finished_job_that_is_cancelled_before_its_delivery_is_not_answered() -> None:
    bench = Bench()
    (job,) = bench.submit()
    bench.work()
    assert bench.scheduler.cancel(job) is False
    bench.loop.turn()
    assert bench.answered == []


def test_cancelling_from_an_answer_reaches_jobs_of_the_same_delivery() -> None:
    bench = Bench()
    second = bench.job()

    def on_done(job: Job) -> None:
        bench.scheduler.cancel(second)

    bench.scheduler.submit(bench.job(on_done=on_done))
    bench.scheduler.submit(second)
    bench.work(2)
    bench.loop.turn()
    assert bench.answered == []


def test_cancelling_is_counted_once_and_only_when_something_was_owed() -> None:
    bench = Bench()
    answered = bench.submit()[0]
    bench.work()
    bench.loop.turn()
    running = bench.submit()[0]
    bench.scheduler.take(1)
    finished = bench.submit()[0]
    bench.work()
    queued = bench.submit()[0]
    never = bench.job()
    for job in (queued, running, finished, answered, never) * 2:
        bench.scheduler.cancel(job)
    assert bench.scheduler.counts().cancelled == 3
    assert bench.scheduler.counts().submitted == 4
    assert bench.scheduler.counts().answered == 1


# --- bounds ---


def test_what_goes_past_the_bound_is_refused_and_room_is_made_by_take_and_cancel() -> None:
    bench = Bench(max_jobs=2)
    first, second = bench.submit(2)
    with pytest.raises(Overloaded, match="2 jobs wait for the model"):
        bench.submit()
    bench.scheduler.cancel(second)
    bench.submit(1, final=False)
    with pytest.raises(Overloaded):
        bench.submit(1)
    assert bench.scheduler.take(1) == [first]
    bench.submit()
    counts = bench.scheduler.counts()
    assert (counts.submitted, counts.refused) == (4, 2)


def test_a_refused_job_is_never_answered() -> None:
    bench = Bench(max_jobs=1)
    bench.submit()
    refused = bench.job()
    with pytest.raises(Overloaded):
        bench.scheduler.submit(refused)
    bench.work(5)
    bench.loop.turn()
    assert refused not in bench.answered
    assert not refused.owed


@pytest.mark.parametrize("max_jobs", [0, -1])
def test_a_bound_below_one_is_refused(max_jobs: int) -> None:
    with pytest.raises(ConfigError, match=f"max_jobs must be at least 1, not {max_jobs}"):
        Bench(max_jobs=max_jobs)


# --- the end ---


def test_close_answers_what_is_queued_and_lets_what_runs_finish() -> None:
    bench = Bench()
    (running,) = bench.submit()
    taken = bench.scheduler.take(1)
    queued = bench.submit(2, final=False) + bench.submit()
    bench.scheduler.close()
    assert bench.answered == []  # Not from within close.
    bench.loop.turn()
    assert set(bench.answered) == set(queued)
    assert {str(job.error) for job in queued} == {"The server is shutting down"}
    assert all(isinstance(job.error, InferenceError) for job in queued)
    bench.scheduler.finish(taken, results(taken))
    bench.loop.turn()
    assert bench.answered[-1] is running
    assert running.result == {"i": 0}


def test_after_close_nothing_is_taken_and_nothing_accepted() -> None:
    bench = Bench()
    bench.scheduler.close()
    bench.scheduler.close()
    assert bench.scheduler.take(1) == []
    with pytest.raises(InferenceError, match="shutting down"):
        bench.submit()
    assert bench.scheduler.counts().refused == 1
    assert bench.loop.ready == []


@pytest.mark.parametrize("stopped", [True, False])
def test_wait_closed_answers_what_still_runs_when_time_is_up(stopped: bool) -> None:
    async def main() -> None:
        answered: list[Job] = []
        engine = NoEngine()
        engine.stopped = stopped
        scheduler = Scheduler(engine, asyncio.get_running_loop())
        jobs = [Job(np.zeros(1, np.float32), 16_000, True, None, answered.append) for _ in range(200)]
        for job in jobs:
            scheduler.submit(job)
        taken = scheduler.take(100)
        scheduler.close()
        assert await scheduler.wait_closed(7.0) is stopped
        assert engine.stops == [7.0]
        assert set(answered) == set(jobs)
        assert len(answered) == 200
        assert {str(job.error) for job in jobs} == {"The server is shutting down"}
        scheduler.finish(taken, results(taken))  # Too late: answered once is answered.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(answered) == 200
        assert taken[0].result is None

    asyncio.run(main())


def test_wait_closed_before_close_is_our_bug() -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="comes first"):
            await Scheduler(NoEngine(), asyncio.get_running_loop()).wait_closed()

    asyncio.run(main())


def test_warm_up_and_start_are_the_engines() -> None:
    async def main() -> None:
        engine = NoEngine()
        scheduler = Scheduler(engine, asyncio.get_running_loop())
        assert scheduler.engine is engine
        scheduler.start()
        assert engine.source is scheduler
        assert await scheduler.warm_up() == 1.5

    asyncio.run(main())


# --- with real threads and a real loop ---


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

    scheduler.submit(Job(np.zeros(n_samples, np.float32), 16_000, final, None, on_done))
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
        jobs = [Job(np.zeros(n % 7, np.float32), 16_000, n % 2 == 0, None, answered.append) for n in range(2000)]
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
            scheduler.submit(Job(np.zeros(n, np.float32), 16_000, True, None, answered.append))
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
