"""What the scheduler counts and measures."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.inference.engine.base import Job
from voxgate.runtime.histogram import BATCH_SIZES, FACTORS, LATENCIES_S, STAGES_S, Histogram

__all__ = ["SchedulerCounts", "SchedulerTimes"]


@dataclass(slots=True)
class SchedulerCounts:
    """What happened since the scheduler was made. All numbers only grow."""

    submitted: int = 0
    refused: int = 0
    """Submits that raised."""
    cancelled: int = 0
    """Jobs cancelled before they were answered, queued or running."""
    answered: int = 0
    """Jobs whose `on_done` was called."""
    wake_ups: int = 0
    """Times that a worker woke the event loop."""
    expired: int = 0
    """Jobs answered with an error at their deadline, queued or running."""
    callback_failures: int = 0
    """Times that an `on_done` or an `on_partial` raised: a bug of ours."""


class SchedulerTimes:
    """Observed once per call that a worker took, or once per batch. Any thread, with the scheduler's lock held."""

    __slots__ = ("batch_size", "factor", "final_wait_s", "interim_wait_s", "run_s", "speculative_wait_s")

    def __init__(self) -> None:
        self.final_wait_s = Histogram(LATENCIES_S)
        self.speculative_wait_s = Histogram(LATENCIES_S)
        self.interim_wait_s = Histogram(LATENCIES_S)
        self.batch_size = Histogram(BATCH_SIZES)
        self.run_s = Histogram(STAGES_S)
        """Of a batch, from the `take` to the `finish`."""
        self.factor = Histogram(FACTORS)
        """Of a batch: seconds of run time per second of audio, without padding."""

    def wait_s(self, job: Job) -> Histogram:
        """The waiting times of the lane of `job`."""
        if job.speculative:
            return self.speculative_wait_s
        return self.final_wait_s if job.final else self.interim_wait_s
