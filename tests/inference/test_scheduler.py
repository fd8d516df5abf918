from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from helpers.scheduler_bench import Bench, NoEngine, results
from voxgate._native.batch import Interrupt
from voxgate.errors import InferenceError
from voxgate.inference.engine.base import BatchLimits, Job, Pin, State
from voxgate.inference.outcomes import WorkerDied
from voxgate.inference.scheduler import Scheduler
from voxgate.protocol.output import Output

# --- speculative calls ---


def test_speculative_calls_run_after_finals_and_before_interims() -> None:
    bench = Bench()
    (interim,), (speculative,), (final,) = (
        bench.submit(final=False),
        bench.submit(speculative=True),
        bench.submit(),
    )
    assert bench.scheduler.depths() == {"final": 1, "speculative": 1, "interim": 1, "running": 0}
    assert bench.take(8) == [final, speculative, interim]
    times = bench.scheduler.times
    assert [times.final_wait_s.count, times.speculative_wait_s.count, times.interim_wait_s.count] == [1, 1, 1]


def test_a_speculative_call_that_is_promoted_has_the_deadline_of_a_final() -> None:
    bench = Bench(deadline_s=10.0)
    (job,) = bench.submit(speculative=True)
    bench.take(1)
    bench.wait(15)
    assert bench.turn() == []  # as an interim, it is answered when it returns
    bench.scheduler.promote(job)
    assert not job.speculative
    assert job.deadline_s == 125.0
    bench.wait(9)
    assert bench.turn() == []
    bench.wait(1)
    assert bench.turn() == [job]
    assert str(job.error) == "The model gave no answer within 10 s"
    assert bench.scheduler.pending == 0


def test_a_promoted_call_expires_after_those_that_came_before() -> None:
    bench = Bench(deadline_s=10.0)
    (early,) = bench.submit(speculative=True)
    (final,) = bench.submit()
    taken = bench.take(2)
    bench.wait(5)
    bench.scheduler.promote(early)
    bench.wait(5)
    assert bench.turn() == [final]
    bench.scheduler.finish(taken, results(taken))
    assert bench.turn() == [early]
    assert early.error is None


def test_promoting_what_was_answered_or_cancelled_has_no_effect() -> None:
    bench = Bench()
    answered, cancelled = bench.submit(2, speculative=True)
    bench.scheduler.cancel(cancelled)
    bench.work()
    bench.turn()
    for job in (answered, cancelled):
        bench.scheduler.promote(job)
    assert bench.scheduler.pending == 0
    assert (answered.speculative, cancelled.speculative) == (True, True)


@pytest.mark.parametrize("is_promoted", [False, True])
def test_a_speculative_call_of_a_dead_worker_runs_once_more_only_when_it_is_needed(is_promoted: bool) -> None:
    bench = Bench()
    (job,) = bench.submit(speculative=True)
    taken = bench.take(1)
    if is_promoted:
        bench.scheduler.promote(job)
    bench.scheduler.requeue(taken)
    depths = bench.scheduler.depths()
    assert (depths["final"], depths["speculative"]) == (int(is_promoted), 0)
    assert bench.turn() == ([] if is_promoted else [job])


def test_speculative_calls_do_not_count_as_queue_delay() -> None:
    bench = Bench()
    bench.submit(speculative=True)
    bench.wait(5)
    assert bench.scheduler.queue_wait_s == 0
    bench.take(1)
    bench.wait(0.1)
    assert bench.scheduler.queue_wait_s == 0


# --- workers that die ---


def test_finals_of_a_dead_worker_run_once_more_before_all_others() -> None:
    bench = Bench()
    finals = bench.submit(2)
    waiting = bench.submit(2)
    taken = bench.take(2)
    bench.scheduler.requeue(taken)
    assert bench.scheduler.depths() == {"final": 4, "speculative": 0, "interim": 0, "running": 0}
    assert bench.take(16) == [*finals, *waiting]
    assert [job.attempts for job in (*finals, *waiting)] == [2, 2, 1, 1]
    bench.scheduler.requeue(finals)
    assert bench.turn() == finals
    assert {str(job.error) for job in finals} == {"The worker that ran the model died"}
    bench.scheduler.finish(waiting, results(waiting))
    assert bench.turn() == waiting
    assert bench.scheduler.depths()["running"] == 0


def test_interims_and_stateful_calls_of_a_dead_worker_fail() -> None:
    bench = Bench()
    (interim,) = bench.submit(final=False)
    state = State()
    (step,) = bench.submit(method="step", state=state)
    for _ in range(2):
        bench.scheduler.requeue(bench.take(1))
    assert set(bench.turn()) == {interim, step}
    assert isinstance(interim.error, InferenceError)
    assert isinstance(step.error, InferenceError)
    assert state.lost


def test_what_nobody_waits_for_is_not_run_again() -> None:
    bench = Bench(deadline_s=10.0)
    cancelled, late = bench.submit(2)
    taken = bench.take(2)
    bench.scheduler.cancel(cancelled)
    bench.wait(10)
    assert bench.turn() == [late]
    bench.scheduler.requeue(taken)
    assert bench.scheduler.depths() == {"final": 0, "speculative": 0, "interim": 0, "running": 0}
    assert bench.turn() == []


def test_after_close_a_dead_workers_jobs_fail() -> None:
    bench = Bench()
    jobs = bench.submit(2)
    taken = bench.take(2)
    bench.scheduler.close()
    bench.scheduler.requeue(taken)
    assert set(bench.turn()) == set(jobs)
    assert {str(job.error) for job in jobs} == {"The server is shutting down"}
    assert bench.scheduler.depths()["running"] == 0


def test_what_runs_again_at_another_rate_is_resampled_again() -> None:
    bench = Bench()
    bench.submit(n_samples=80, rate=8000)
    bench.scheduler.requeue(bench.take(1))
    work = bench.scheduler.take(BatchLimits(1))
    assert work is not None
    assert work.batch.lengths.tolist() == [160]
    assert work.batch.audio.any()


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
    taken = bench.take(1)
    assert bench.scheduler.cancel(job) is False
    bench.scheduler.finish(taken, results(taken))
    bench.loop.turn()
    assert bench.answered == []
    assert job.result is None
    assert bench.scheduler.depths()["running"] == 0


def test_a_call_that_returns_while_it_is_ended() -> None:
    """The engine takes its `on_cancel` back on another thread, between any two steps of this one."""

    calls: list[str] = []

    class Returning(Job):
        def __getattribute__(self, name: str) -> Any:
            if name != "on_cancel":
                return super().__getattribute__(name)
            calls.append("read")
            return (lambda: calls.append("ended")) if calls == ["read"] else None

    bench = Bench()
    job = Returning(np.zeros(16, np.float32), 16_000, True, object(), lambda job: None)
    bench.scheduler.drop(job)
    assert calls == ["read", "ended"]


def test_a_queued_job_that_is_withdrawn_neither_runs_nor_is_answered() -> None:
    bench = Bench()
    first, second = bench.submit(2)
    assert bench.scheduler.withdraw(first) is True
    assert bench.scheduler.withdraw(first) is False
    assert bench.work(2) == [second]
    assert bench.turn() == [second]
    assert bench.scheduler.outcomes()["cancelled"] == 1
    assert bench.scheduler.pending == 0


def test_a_job_that_a_worker_has_taken_is_not_withdrawn_but_answered() -> None:
    bench = Bench()
    (job,) = bench.submit()

    def clock() -> float:  # read between the taking of a job and the note that it was taken
        assert job.taken_s == 0
        assert bench.scheduler.withdraw(job) is False
        return bench.now_s

    bench.scheduler._clock = clock
    taken = bench.take(1)
    bench.scheduler._clock = lambda: bench.now_s
    assert bench.scheduler.withdraw(job) is False
    bench.scheduler.finish(taken, results(taken))
    assert bench.scheduler.withdraw(job) is False
    assert bench.turn() == [job]
    assert job.result == {"i": 0}
    assert bench.scheduler.counts().cancelled == 0


def test_an_interim_that_runs_is_answered_when_it_returns_also_past_its_time() -> None:
    bench = Bench(deadline_s=10.0)
    (late,) = bench.submit(final=False)
    taken = bench.take(1)
    (queued,) = bench.submit(final=False)
    bench.wait(10)
    assert bench.turn() == [queued]
    (final,) = bench.submit()
    bench.wait(10)
    assert bench.turn() == [final]
    bench.scheduler.finish(taken, results(taken))
    assert bench.turn() == [late]
    assert late.error is None
    assert bench.scheduler.counts().expired == 2


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
    bench.take(1)
    finished = bench.submit()[0]
    bench.work()
    queued = bench.submit()[0]
    never = bench.job()
    for job in (queued, running, finished, answered, never) * 2:
        bench.scheduler.cancel(job)
    assert bench.scheduler.counts().cancelled == 3
    assert bench.scheduler.counts().submitted == 4
    assert bench.scheduler.counts().answered == 1


# --- the end ---


def test_close_answers_what_is_queued_and_lets_what_runs_finish() -> None:
    bench = Bench()
    (running,) = bench.submit()
    taken = bench.take(1)
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
    assert bench.take(1) == []
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
        work = scheduler.take(BatchLimits(100))
        assert work is not None
        taken = work.jobs
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
        assert scheduler._deadlines._timer is None
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


# --- interim results of running calls, and calls that nobody needs any more ---


def test_interim_results_come_in_order_before_the_answer_and_the_newest_replaces_the_waiting_one() -> None:
    bench = Bench()
    seen: list[Any] = []
    (job,) = bench.submit(
        on_partial=lambda job, output: seen.append((job, dict(output))), on_done=lambda job: seen.append(job)
    )
    bench.take(1)
    wake_ups = bench.loop.n_wake_ups
    for n in range(3):
        bench.scheduler.partial(job, Output.of({"n": n}))
    assert bench.loop.n_wake_ups == wake_ups + 1
    bench.turn()
    assert seen == [(job, {"n": 2})]
    bench.scheduler.partial(job, Output.of({"n": 3}))
    bench.turn()
    bench.scheduler.partial(job, Output.of({"n": 4}))
    bench.scheduler.finish([job], results([job]))
    bench.turn()  # The result takes the place of an interim one that was not delivered yet.
    assert seen == [(job, {"n": 2}), (job, {"n": 3}), job]
    bench.scheduler.partial(job, Output.of({"n": 5}))
    bench.turn()
    assert len(seen) == 3


def test_nobody_gets_interim_results_of_a_call_that_was_cancelled_or_did_not_ask() -> None:
    bench = Bench()
    seen: list[Output] = []
    (cancelled,) = bench.submit(on_partial=lambda job, output: seen.append(output))
    (silent,) = bench.submit()
    bench.take(1)
    bench.take(1)
    bench.scheduler.partial(silent, Output.of({}))
    bench.scheduler.partial(cancelled, Output.of({}))
    bench.scheduler.cancel(cancelled)
    bench.scheduler.partial(cancelled, Output.of({}))
    bench.turn()
    assert (seen, cancelled.partial) == ([], None)


def test_a_failure_of_ours_with_an_interim_result_is_logged_and_its_call_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    (job,) = bench.submit(on_partial=lambda job, output: 1 / 0)
    bench.take(1)
    bench.scheduler.partial(job, Output.of({}))
    bench.turn()
    assert "a bug of ours" in caplog.text
    assert bench.scheduler.counts().callback_failures == 1
    bench.scheduler.finish([job], results([job]))
    assert bench.turn() == [job]


@pytest.mark.parametrize("how", ["cancel", "expire", "drop"])
@pytest.mark.parametrize("final", [True, False])
def test_the_engine_hears_that_a_running_call_is_not_needed(how: str, final: bool) -> None:
    bench = Bench(deadline_s=5.0)
    ended: list[Job] = []
    (job,) = bench.submit(final=final)
    bench.take(1)
    job.on_cancel = lambda: ended.append(job)
    assert job.is_needed
    if how == "cancel":
        assert not bench.scheduler.cancel(job)
    elif how == "expire":
        bench.wait(5.0)
    else:
        bench.scheduler.drop(job)
    assert ended == [job]
    assert not job.is_needed


# --- states that a worker keeps ---


def test_the_calls_of_a_pinned_state_go_to_its_worker_alone() -> None:
    bench = Bench()
    pin, other = Pin(), Pin()
    (mine,) = bench.submit(method="step", state=State(opened=True, pin=pin), stream="a")
    (fresh,) = bench.submit(method="step", state=State(), stream="b")
    interrupt = Interrupt()
    bench.scheduler.interrupt(interrupt)
    work = bench.scheduler.take(BatchLimits(4), pin=other)
    assert work is not None
    assert work.jobs == [fresh]
    assert bench.scheduler.take(BatchLimits(4), None, interrupt, other) is None
    work = bench.scheduler.take(BatchLimits(4), pin=pin)
    assert work is not None
    assert work.jobs == [mine]


def test_the_end_of_a_worker_is_an_error_for_its_states_and_for_no_other() -> None:
    bench = Bench()
    pin, other = Pin(), Pin()
    lost, kept = State(opened=True, pin=pin), State(opened=True, pin=other)
    (waiting,) = bench.submit(method="step", state=lost, stream="a")
    (of_other,) = bench.submit(method="step", state=kept, stream="b")
    (fresh,) = bench.submit(method="step", state=State(), stream="c")
    bench.scheduler.unpin(pin)
    assert bench.turn() == [waiting]
    assert isinstance(waiting.error, WorkerDied)
    assert (lost.lost, kept.lost) == (True, False)
    # A session that was silent meanwhile gets its error with the next call.
    (later,) = bench.submit(method="step", state=State(opened=True, pin=pin), stream="a")
    assert bench.turn() == [later]
    assert isinstance(later.error, WorkerDied)
    work = bench.scheduler.take(BatchLimits(4), pin=other)
    assert work is not None
    assert {*work.jobs, *bench.take(1)} == {of_other, fresh}
    assert bench.scheduler.outcomes()["died"] == 2


def test_a_state_that_no_worker_has_seen_survives_the_death_of_the_one_that_took_its_first_call() -> None:
    bench = Bench()
    (job,) = bench.submit(method="step", state=State())
    bench.take(1)
    job.attempts -= 1  # As a slot does with calls that it did not run.
    bench.scheduler.requeue([job])
    assert bench.take(1) == [job]
    assert job.state is not None
    assert not job.state.lost
    bench.scheduler.requeue([job])  # Now it ran.
    assert bench.turn() == [job]
    assert isinstance(job.error, WorkerDied)
    assert job.state.lost
