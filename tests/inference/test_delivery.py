"""Answers come on the loop, with few wake-ups."""

from __future__ import annotations

import pytest

from helpers.scheduler_bench import Bench, results
from voxgate.errors import InferenceError, InternalError
from voxgate.inference import delivery as delivery_module
from voxgate.inference.engine.base import Job, State


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
