from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.scheduler_bench import Bench, NoEngine, results
from voxgate._native.batch import Interrupt
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError, Overloaded
from voxgate.inference import delivery as delivery_module
from voxgate.inference import job_queue as job_queue_module
from voxgate.inference.engine.base import BatchLimits, Job, JobOutcome, Pin, State
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.outcomes import WorkerDied
from voxgate.inference.scheduler import Scheduler
from voxgate.models.base import Batch, Model
from voxgate.models.dummy import Dummy
from voxgate.protocol.output import Output

WAIT_S = 30


# --- which job is next ---


def test_finals_before_interims_and_first_come_first_served() -> None:
    bench = Bench()
    jobs = [bench.job(final) for final in (False, True, False, True, True)]
    for job in jobs:
        bench.scheduler.submit(job)
    assert bench.scheduler.depths() == {"final": 3, "speculative": 0, "interim": 2, "running": 0}
    taken = [bench.take(1)[0] for _ in jobs]
    assert taken == [jobs[1], jobs[3], jobs[4], jobs[0], jobs[2]]
    assert bench.scheduler.depths() == {"final": 0, "speculative": 0, "interim": 0, "running": 5}


@pytest.mark.parametrize(("waiting", "wanted", "taken"), [(5, 3, 3), (3, 3, 3), (2, 3, 2), (1, 16, 1)])
def test_a_worker_takes_what_is_there_up_to_its_limit(waiting: int, wanted: int, taken: int) -> None:
    bench = Bench()
    jobs = bench.submit(waiting)
    batch = bench.take(wanted)
    assert batch == jobs[:taken]
    assert [job.batch_size for job in batch] == [taken] * taken


def test_a_batch_is_filled_up_with_interims() -> None:
    bench = Bench()
    (interim,) = bench.submit(final=False)
    (final,) = bench.submit()
    assert bench.take(8) == [final, interim]


def test_streams_take_turns_by_seconds_of_audio() -> None:
    bench = Bench()
    for stream, n_samples in (("long", 32_000), ("short", 8000)):
        bench.submit(20, stream=stream, n_samples=n_samples)
    streams = [bench.take(1)[0].stream for _ in range(20)]
    assert streams.count("short") == 16


def test_equal_streams_share_a_busy_engine_equally() -> None:
    """Each asks again when it has an answer; one of them has ten times as many calls waiting."""
    bench = Bench()
    served = [0] * 20

    def ask_again(job: Job) -> None:
        stream = job.stream
        assert isinstance(stream, int)
        served[stream] += 1
        bench.submit(stream=stream, on_done=ask_again, n_samples=1600)

    for stream in range(20):
        bench.submit(100 if stream == 0 else 10, stream=stream, on_done=ask_again, n_samples=1600)
    for _ in range(500):
        bench.work(4)
        bench.turn()
    assert sum(served) == 2000
    assert sum(served) ** 2 / (20 * sum(n * n for n in served)) >= 0.98


def test_a_batch_is_padded_and_bounded_in_seconds() -> None:
    bench = Bench()
    for n_samples in (16_000, 8000, 4000):
        bench.submit(n_samples=n_samples, stream=n_samples)
    work = bench.scheduler.take(BatchLimits(16, max_seconds=2.5))
    assert work is not None
    assert len(work) == 2
    assert work.batch.audio.shape == (2, 16_000)
    assert work.batch.lengths.tolist() == [16_000, 8000]
    for job, audio in zip(work.jobs, work.batch, strict=True):
        np.testing.assert_array_equal(audio, job.audio)
    assert not work.batch.audio[1, 8000:].any()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_audio_at_another_rate_is_brought_to_the_models(n_jobs: int) -> None:
    bench = Bench()
    bench.submit(n_jobs - 1, n_samples=4000)
    bench.submit(n_samples=801, rate=8000, stream="narrow")
    work = bench.scheduler.take(BatchLimits(4))
    assert work is not None
    rows = {job.sample_rate: row for job, row in zip(work.jobs, work.batch, strict=True)}
    assert len(rows[8000]) == 1602
    np.testing.assert_allclose(rows[8000][500:1000], np.arange(250, 500, 0.5), atol=0.5)
    assert bench.scheduler.queued_s == 0


def test_what_waits_is_counted_at_the_models_rate() -> None:
    bench = Bench()
    bench.submit(n_samples=8000)
    bench.submit(n_samples=8000, rate=8000)
    assert bench.scheduler.queued_s == 1.5


def test_audio_that_cannot_be_resampled_is_an_error_for_its_batch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    bench = Bench()
    bad = bench.submit(n_samples=80, rate=8000)
    bench.scheduler.submit(good := bench.job())
    monkeypatch.setattr(job_queue_module, "resample", broken)
    assert bench.take(1) == [good]
    assert bench.turn() == bad
    assert type(bad[0].error) is InternalError
    assert "a bug of ours" in caplog.text
    assert bench.scheduler.depths()["running"] == 1


def test_a_batch_is_written_into_an_arena_as_far_as_it_fits() -> None:
    bench, arena = Bench(), bytearray(4 * 1000)
    too_long = bench.submit(n_samples=1001, stream="a")
    bench.submit(3, n_samples=400, stream="b")
    work = bench.scheduler.take(BatchLimits(16), arena)
    assert work is not None
    assert len(work) == 2
    assert np.frombuffer(arena, np.float32, 800).tolist() == 2 * list(range(400))
    assert bench.turn() == too_long
    assert str(too_long[0].error) == "0.1 s of audio is too long for a worker"
    assert bench.scheduler.depths() == {"final": 1, "speculative": 0, "interim": 0, "running": 2}


def test_stateful_calls_come_alone() -> None:
    bench = Bench()
    for stream in range(3):
        bench.submit(stream=stream, method="step", state=State())
    assert [len(bench.take(16)) for _ in range(3)] == [1, 1, 1]


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
    bench.scheduler.finish(bench.take(1), [error])  # type: ignore[list-item]
    bench.loop.turn()
    assert bench.answered == [job]
    assert (job.result, job.error) == (None, error)


def test_times_are_measured_by_the_clock() -> None:
    bench = Bench()
    first, second = bench.submit(2)
    bench.now_s += 3
    jobs = bench.take(1)
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


def test_the_jobs_of_a_turn_of_the_loop_wake_the_workers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    n_queued: list[int] = []
    monkeypatch.setattr(bench.scheduler._queue, "wake", lambda: n_queued.append(bench.scheduler.depths()["final"]))
    bench.submit(3)
    assert n_queued == []
    bench.loop.turn()
    bench.submit(2)
    bench.loop.turn()
    bench.loop.turn()
    assert n_queued == [3, 5]


def test_what_finishes_while_the_loop_wakes_the_workers_needs_no_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    wake = bench.scheduler._queue.wake
    monkeypatch.setattr(bench.scheduler._queue, "wake", lambda: bench.work(2))  # a worker has the GIL meanwhile
    jobs = bench.submit(3)
    assert bench.turn() == jobs[:2]
    assert bench.loop.n_wake_ups == 0
    monkeypatch.setattr(bench.scheduler._queue, "wake", wake)
    bench.work()
    assert bench.loop.n_wake_ups == 1  # the loop looks no more
    assert bench.turn() == jobs[2:]
    assert bench.loop.ready == []


def test_a_delivery_that_is_due_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    jobs = bench.submit(1)
    bench.work()  # wakes the loop
    jobs += bench.submit(1)
    monkeypatch.setattr(bench.scheduler._queue, "wake", bench.work)
    assert bench.turn() == jobs
    assert bench.loop.n_wake_ups == 1
    assert bench.loop.ready == []


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
    taken = bench.take(2)
    for job in jobs:
        bench.scheduler.cancel(job)
    bench.scheduler.finish(taken, results(taken))
    assert bench.loop.n_wake_ups == 0


def test_a_turn_of_the_loop_answers_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "_DELIVERIES_PER_TURN", 4)
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
        bench.scheduler.finish(bench.take(2), [{}])


def test_a_stateful_call_that_had_nothing_to_say_is_answered_all_the_same() -> None:
    bench = Bench()
    (job,) = bench.submit(method="step", state=State())
    bench.scheduler.finish(bench.take(1), [None])
    assert bench.turn() == [job]
    assert (job.result, job.error) == (None, None)


# --- the time a job may take ---


def test_a_queued_job_whose_time_is_up_fails_and_is_not_run() -> None:
    bench = Bench(deadline_s=10.0)
    late = bench.submit(2)
    bench.wait(4)
    in_time = bench.submit()
    bench.wait(5)
    assert bench.turn() == []
    bench.wait(1)
    assert bench.turn() == late
    for job in late:
        assert str(job.error) == "The model gave no answer within 10 s"
        assert isinstance(job.error, InferenceError)
        assert (job.queue_s, job.run_s) == (10, 0)
    assert bench.take(8) == in_time
    assert bench.scheduler.counts().expired == 2
    bench.wait(4)
    assert bench.turn() == in_time


def test_a_running_job_is_answered_at_its_time_and_its_late_result_dropped() -> None:
    bench = Bench(deadline_s=10.0)
    (job,) = bench.submit()
    bench.wait(3)
    taken = bench.take(1)
    assert taken[0].deadline_s == 110.0
    bench.wait(7)
    assert bench.turn() == [job]
    assert (job.queue_s, job.run_s) == (3, 7)
    bench.scheduler.finish(taken, results(taken))
    assert bench.loop.ready == []
    assert job.result is None
    assert bench.scheduler.depths()["running"] == 0


def test_the_late_jobs_of_a_batch_fail_alone() -> None:
    bench = Bench(deadline_s=10.0)
    (late,) = bench.submit()
    bench.wait(6)
    (in_time,) = bench.submit()
    taken = bench.take(2)
    bench.wait(5)
    bench.scheduler.finish(taken, results(taken))
    bench.turn()
    assert isinstance(late.error, InferenceError)
    assert in_time.result == {"i": 1}


def test_a_result_that_lies_ready_is_not_late() -> None:
    bench = Bench(deadline_s=10.0)
    (job,) = bench.submit()
    bench.work()
    bench.wait(100)
    assert bench.turn() == [job]
    assert job.error is None
    assert bench.turn() == []


def test_answered_and_cancelled_jobs_have_no_deadline() -> None:
    bench = Bench(deadline_s=10.0)
    bench.submit()
    bench.work()
    bench.turn()
    (queued,), (running,) = bench.submit(), bench.submit()
    bench.take(1)
    for job in (queued, running):
        bench.scheduler.cancel(job)
    bench.wait(100)
    assert bench.turn() == []
    assert bench.scheduler.counts().expired == 0
    assert not bench.loop.timers


def test_there_is_one_timer_however_many_jobs() -> None:
    bench = Bench(deadline_s=10.0)
    for _ in range(50):
        bench.submit()
        bench.wait(0.1)
        bench.work()
        bench.turn()
        assert len(bench.loop.timers) <= 1


def test_a_timer_that_fires_a_little_early_does_no_harm() -> None:
    bench = Bench(deadline_s=10.0)
    bench.submit()
    (_, callback, _) = bench.loop.timers.pop()
    bench.now_s += 9.9
    callback()
    assert [delay_s for delay_s, *_ in bench.loop.timers] == [pytest.approx(0.1)]
    bench.now_s += 0.099
    bench.loop.timers.pop()[1]()
    assert len(bench.turn()) == 1


@pytest.mark.parametrize("taken", [True, False])
def test_the_state_of_a_call_that_does_not_return_is_lost(taken: bool) -> None:
    bench = Bench(deadline_s=10.0)
    state = State()
    bench.submit(method="step", state=state)
    if taken:
        bench.take(1)
    bench.wait(10)
    assert state.lost is taken


def test_the_state_of_a_call_that_returned_in_time_is_not_lost() -> None:
    bench = Bench(deadline_s=10.0)
    state = State()
    bench.submit(method="step", state=state)
    bench.work()
    bench.wait(10)
    assert not state.lost


def test_progress_is_judged_by_the_deadline() -> None:
    bench = Bench(deadline_s=10.0)
    assert bench.scheduler.making_progress
    bench.engine.stalled_s = 10.0
    assert not bench.scheduler.making_progress
    bench.engine.stalled_s = 9.9
    assert bench.scheduler.making_progress
    bench.engine.ready = False
    assert not bench.scheduler.making_progress


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


# --- bounds ---


def test_what_goes_past_the_bound_is_refused_and_room_is_made_by_take_and_cancel() -> None:
    bench = Bench(max_jobs=2)
    first, second = bench.submit(2)
    with pytest.raises(Overloaded, match="or 2 calls or 3600 s of audio of all wait for the model"):
        bench.submit()
    bench.scheduler.cancel(second)
    bench.submit(1, final=False)
    with pytest.raises(Overloaded):
        bench.submit(1)
    assert bench.take(1) == [first]
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
    assert not refused.pending


def test_a_stream_has_bounds_of_its_own_and_seconds_count_too() -> None:
    bench = Bench(stream_jobs=3, stream_seconds=2.0, max_seconds=3.0)
    bench.submit(3, stream="many")
    with pytest.raises(Overloaded, match="3 calls or 2 s of audio of this stream or 4096 calls or 3 s of audio of all"):
        bench.submit(stream="many")
    bench.submit(2, n_samples=16_000, stream="long")
    with pytest.raises(Overloaded):
        bench.submit(stream="long")
    with pytest.raises(Overloaded):
        bench.submit(n_samples=16_000, stream="third")
    bench.submit(n_samples=15_000, stream="third")


@pytest.mark.parametrize("name", ["max_seconds", "stream_seconds", "deadline_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"inference.{name} must be above 0, not {value}"):
        Bench(**{name: value})


@pytest.mark.parametrize("max_jobs", [0, -1])
def test_a_bound_below_one_is_refused(max_jobs: int) -> None:
    with pytest.raises(ConfigError, match=f"inference.max_jobs must be at least 1, not {max_jobs}"):
        Bench(max_jobs=max_jobs)


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


# --- what is measured ---


def test_what_becomes_of_calls_adds_up_at_every_moment() -> None:
    bench = Bench(deadline_s=10)
    scheduler = bench.scheduler

    def check(**outcomes: int) -> None:
        assert {name: n for name, n in scheduler.outcomes().items() if n} == outcomes
        assert scheduler.counts().submitted == sum(outcomes.values()) + scheduler.pending

    def answer(outcome: JobOutcome) -> None:
        scheduler.finish(bench.take(1), [outcome])
        bench.turn()

    bench.submit(3)
    check()
    answer({})
    check(ok=1)
    answer(None)
    check(ok=2)
    answer(InferenceError("no"))
    check(ok=2, refused=1)
    bench.submit()
    answer(InternalError("a bug"))
    check(ok=2, refused=1, failed=1)
    queued, running = bench.submit(2)
    bench.take(1)
    for job in (queued, running, queued):
        scheduler.cancel(job)
    check(ok=2, refused=1, failed=1, cancelled=2)
    (running,) = bench.submit(1, stream=running)
    bench.take(1)
    scheduler.requeue([running])
    bench.take(1)
    scheduler.requeue([running])
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1)
    bench.submit()
    bench.wait(10)
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1, timeout=1)
    bench.submit()
    scheduler.close()
    bench.turn()
    check(ok=2, refused=1, failed=1, cancelled=2, died=1, timeout=1, shutdown=1)


def test_waits_sizes_and_factors_are_observed_per_batch() -> None:
    bench = Bench()
    bench.submit(3, n_samples=16_000)
    bench.submit(1, final=False, n_samples=8_000, rate=8_000)
    bench.now_s += 0.25
    jobs = bench.take(16)
    bench.now_s += 2.0
    bench.scheduler.finish(jobs, results(jobs))
    times = bench.scheduler.times
    assert (times.final_wait_s.count, times.final_wait_s.total) == (3, 0.75)
    assert (times.interim_wait_s.count, times.interim_wait_s.total) == (1, 0.25)
    assert (times.batch_size.count, times.batch_size.total) == (1, 4)
    assert (times.run_s.count, times.run_s.total) == (1, 2.0)
    assert (times.factor.count, times.factor.total) == (1, 0.5)  # two seconds for four of audio


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
