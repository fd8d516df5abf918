"""Where the interim results of jobs go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from voxgate.inference.engine.base import Job
from voxgate.inference.engine.interims import NO_INTERIMS, JobInterims
from voxgate.protocol.output import Output


class Source:
    def __init__(self) -> None:
        self.partials: list[tuple[Job, Output]] = []

    def partial(self, job: Job, output: Output) -> None:
        self.partials.append((job, output))


def job(**fields: Any) -> Job:
    return Job(np.zeros(1, np.float32), 16_000, True, None, lambda job: None, pending=True, **fields)


def test_those_of_a_single_job_go_to_its_source() -> None:
    source, asks = Source(), job(on_partial=lambda job, output: None)
    interims = JobInterims([asks], source)  # type: ignore[arg-type]
    assert (interims.is_needed, interims.is_wanted) == (True, True)
    interims.send(output := Output.of({"a": 1}))
    assert source.partials == [(asks, output)]
    assert not JobInterims([job()], source).is_wanted  # type: ignore[arg-type]
    assert not JobInterims([asks, asks], source).is_wanted  # type: ignore[arg-type]


def test_a_batch_is_needed_as_long_as_one_of_its_jobs_is() -> None:
    jobs = [job(), job(), job()]
    interims = JobInterims(jobs, Source())  # type: ignore[arg-type]
    jobs[0].pending = False
    jobs[1].settled = True
    assert interims.is_needed
    jobs[2].dropped = True
    assert not interims.is_needed


def test_nobody_wants_those_of_a_trial_call() -> None:
    assert (NO_INTERIMS.is_needed, NO_INTERIMS.is_wanted) == (True, False)
    with pytest.raises(AssertionError):
        NO_INTERIMS.send(Output.of({}))
