"""The time a job may take."""

from __future__ import annotations

import pytest

from helpers.scheduler_bench import Bench, results
from voxgate.errors import InferenceError
from voxgate.inference.engine.base import State


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
