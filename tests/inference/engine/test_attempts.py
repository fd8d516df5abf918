"""How long a call may run, and what runs again, alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.job_source import Source, job
from voxgate.inference.engine.attempts import call_timeout_s, isolate_retries, return_unrun
from voxgate.inference.engine.base import Job, Work
from voxgate.models.base import Batch


def timed(submitted_s: float, deadline_s: float) -> Job:
    made = job()
    made.submitted_s, made.deadline_s = submitted_s, deadline_s
    return made


@pytest.mark.parametrize(
    ("jobs", "now_s", "expected_s"),
    [
        ([timed(0, 60)], 0, 60),  # Alone: until its deadline,
        ([timed(0, 60)], 20, 40),
        ([timed(0, 60)], 59, 30),  # but half a deadline at least,
        ([timed(0, 60)], 80, 30),
        ([timed(0, 60), timed(0, 60)], 0, 30),  # In company: half of what is left to the first of them,
        ([timed(0, 60), timed(10, 70)], 20, 20),
        ([timed(0, 60), timed(10, 70)], 55, 15),  # but a quarter at least.
        ([timed(0, math.inf)], 5, math.inf),
        ([timed(0, math.inf), timed(0, 8)], 0, 4),
    ],
)
def test_call_timeout(jobs: list[Job], now_s: float, expected_s: float) -> None:
    assert call_timeout_s(jobs, now_s) == expected_s


def work(*jobs: Job) -> Work:
    return Work(list(jobs), Batch.gather([np.zeros(1, np.float32)] * len(jobs)))


def test_a_job_whose_worker_died_runs_alone() -> None:
    source, jobs = Source(), [job(), job(), job()]
    for each in jobs:
        each.attempts = 1
    assert isolate_retries(source, work(*jobs)) == jobs
    jobs[0].attempts = 2
    assert isolate_retries(source, work(*jobs)) == jobs[:1]
    assert [each.attempts for each in jobs] == [2, 0, 0]


def test_what_did_not_run_is_not_an_attempt() -> None:
    source, one = Source(), job()
    one.attempts = 1
    return_unrun(source, [one])
    assert one.attempts == 0
    assert one not in source.outcomes
