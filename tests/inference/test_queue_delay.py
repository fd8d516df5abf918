"""How long the model keeps a stream waiting."""

from __future__ import annotations

import numpy as np
import pytest

from voxgate.inference.engine.base import Job
from voxgate.inference.queue_delay import CACHE_S, RECENT_S, QueueDelay

AUDIO = np.zeros(1, np.float32)


class Model:
    """Calls as the scheduler reports them."""

    def __init__(self) -> None:
        self.wait = QueueDelay()
        self.pending: list[Job] = []

    def submit(self, now_s: float, stream: object = "a", final: bool = True) -> Job:
        job = Job(AUDIO, 16_000, final, stream, print)
        job.submitted_s = now_s
        self.wait.on_submit(job)
        self.pending.append(job)
        return job

    def take(self, now_s: float, *jobs: Job) -> None:
        for job in jobs:
            job.taken_s = now_s
        self.wait.on_take(jobs, now_s)

    def answer(self, now_s: float, *jobs: Job) -> None:
        self.wait.on_return(jobs, now_s)
        for job in jobs:
            self.pending.remove(job)
            self.wait.on_end(job)

    def measured(self, now_s: float) -> float:
        return self.wait.measure(self.wait.recent(), self.pending, now_s)


def test_nothing_waits():
    model = Model()
    assert model.measured(100.0) == 0
    model.take(101.0, model.submit(101.0))
    assert model.measured(110.0) == 0


def test_calls_that_were_taken():
    model = Model()
    for number in range(20):
        job = model.submit(100.0, stream=number)
        model.take(100.0 + (0.5 if number >= 17 else 0.1), job)
        model.answer(101.0, job)
    assert model.measured(101.0) == pytest.approx(0.5)  # of three in twenty: the 90th percentile
    assert model.measured(100.5 + RECENT_S) == pytest.approx(0.5)
    assert model.measured(100.5 + RECENT_S + 0.01) == 0  # long ago


def test_calls_that_nobody_takes_are_seen_at_once():
    model = Model()
    model.submit(100.0, stream="a")
    model.submit(101.0, stream="b")
    assert model.measured(101.5) == pytest.approx(1.5)


def test_interims_may_wait():
    model = Model()
    job = model.submit(100.0, final=False)
    assert model.measured(105.0) == 0
    model.take(105.0, job)
    assert model.measured(105.0) == 0


def test_what_a_stream_waits_for_its_own_calls_does_not_count():
    model = Model()
    first, second, third = (model.submit(100.0) for _ in range(3))
    model.take(100.0, first)
    assert model.measured(103.0) == 0
    model.answer(103.0, first)
    assert model.measured(103.2) == pytest.approx(0.2)  # now others are served
    model.take(103.5, second, third)  # in one batch: one has waited
    model.answer(104.0, second, third)
    assert [wait_s for _, wait_s in model.wait.recent()] == [0.0, pytest.approx(0.5)]


def test_a_call_that_was_given_up_while_it_ran_holds_nothing_up():
    model = Model()
    stuck = model.submit(100.0)
    model.take(100.0, stuck)
    model.pending.remove(stuck)
    model.wait.on_end(stuck)  # its time was up
    model.submit(101.0)
    assert model.measured(103.0) == pytest.approx(2.0)
    model.wait.on_return([stuck], 104.0)


def test_nothing_is_kept_of_streams_that_are_gone():
    model = Model()
    for number in range(10):
        job = model.submit(100.0, stream=number)
        model.take(100.0, job)
        model.answer(100.1, job)
    refused = model.submit(100.0, stream="refused")
    model.wait.on_end(refused)
    assert not model.wait._loads


def test_an_answer_is_kept_for_a_moment():
    model = Model()
    assert model.wait.cached(100.0) is None
    model.submit(99.0)
    model.measured(100.0)
    assert model.wait.cached(100.0) == pytest.approx(1.0)
    assert model.wait.cached(100.0 + CACHE_S) is None
