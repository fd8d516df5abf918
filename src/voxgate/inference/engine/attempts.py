"""How long a call in another process may run, and what runs again when that process dies."""

from __future__ import annotations

import math
from collections.abc import Sequence

from voxgate.inference.engine.base import Job, JobSource, Work

__all__ = ["call_timeout_s", "isolate_retries", "return_unrun"]


def call_timeout_s(jobs: Sequence[Job], now_s: float) -> float:
    """How long a call of `jobs` may run before its worker counts as hung and is killed; infinite without deadlines.

    A single job may run until its deadline. If most of that time passed in the queue, it may still run for half of the
    whole time, so that a server that falls behind does not kill its own workers (the scheduler answers the job at its
    deadline in any case). A batch gets half of the time that is left, but at least a quarter of the whole time: after a
    timeout each of its jobs can still run alone, and only the job that hangs is lost.
    """
    left_s = min(job.deadline_s for job in jobs) - now_s
    whole_s = min(job.deadline_s - job.submitted_s for job in jobs)
    if not math.isfinite(left_s):
        return math.inf
    return max(left_s, whole_s / 2) if len(jobs) == 1 else max(left_s / 2, whole_s / 4)


def isolate_retries(source: JobSource, work: Work) -> list[Job]:
    """The first jobs of `work`, to run now. A job whose first worker died runs alone, so that the job that killed it
    cannot take others with it again. The rest returns to the source.
    """
    jobs = work.jobs
    if len(jobs) > 1 and any(job.attempts > 1 for job in jobs):
        return_unrun(source, jobs[1:])
        return jobs[:1]
    return jobs


def return_unrun(source: JobSource, jobs: Sequence[Job]) -> None:
    """Returns jobs that did not run: this attempt does not count."""
    for job in jobs:
        job.attempts -= 1
    source.requeue(jobs)
