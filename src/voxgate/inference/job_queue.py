"""The bounded queue of jobs, at the model's rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voxgate._native.batch import BatchQueue, Interrupt
from voxgate.audio.length import resampled_length
from voxgate.audio.soxr import resample
from voxgate.errors import ConfigError, Overloaded
from voxgate.inference.engine.base import Arena, BatchLimits, Job, Pin
from voxgate.models.base import Samples

__all__ = ["JobQueue", "Taken"]

Taken: TypeAlias = tuple[list[Job], NDArray[np.float32] | None, NDArray[np.int64]]
"""The jobs of a batch, their padded audio (None: it does not fit into the arena) and the samples of each row."""


class JobQueue:
    """A `BatchQueue` of jobs of any sample rate, with bounds in seconds. Any thread."""

    def __init__(
        self, sample_rate: int, max_jobs: int, max_seconds: float, stream_jobs: int, stream_seconds: float
    ) -> None:
        """sample_rate: the model's, in Hz. The bounds, for all streams and for one, are jobs and seconds of audio.
        ConfigError for jobs below 1, and for seconds that are not above 0.
        """
        for name, bound in (("max_jobs", max_jobs), ("stream_jobs", stream_jobs)):
            if bound < 1:
                raise ConfigError(f"inference.{name} must be at least 1, not {bound}")
        for name, bound_s in (("max_seconds", max_seconds), ("stream_seconds", stream_seconds)):
            if not 0 < bound_s < math.inf:
                raise ConfigError(f"inference.{name} must be above 0, not {bound_s}")
        self._rate = sample_rate
        self._queue: BatchQueue[Job] = BatchQueue(
            max_jobs, math.ceil(max_seconds * sample_rate), stream_jobs, math.ceil(stream_seconds * sample_rate)
        )
        self._bounds = (
            f"{stream_jobs} calls or {stream_seconds:g} s of audio of this stream"
            f" or {max_jobs} calls or {max_seconds:g} s of audio of all"
        )
        self.cancel = self._queue.cancel
        """Removes a job; False: it is not queued, and never one that `take` has returned."""
        self.wake = self._queue.wake
        self.interrupt = self._queue.interrupt
        self.unpin = self._queue.unpin
        """Removes the jobs of a pin, and returns them."""
        self.close = self._queue.close
        """From now on `put` raises RuntimeError and `take` returns None. The jobs that were queued."""

    def put(self, job: Job, front: bool = False) -> None:
        """Workers that wait take it after the next `wake`. Raises Overloaded when a bound is reached, RuntimeError
        after `close`, and MemoryError. `front`: before all others and whatever the bounds; workers take it at once.
        """
        audio: Samples | None = job.audio
        state, n_samples = job.state, -1
        if job.sample_rate != self._rate:  # `fill` brings it to the model's rate.
            audio, n_samples = None, resampled_length(len(job.audio), job.sample_rate, self._rate)
        pin = None if state is None else state.pin
        # A speculative call that is served again has become a final one, or is not served again.
        speculative = job.speculative and not front
        alone = state is not None
        try:
            self._queue.put(
                job, audio, job.stream, job.final, n_samples, alone, front, job.group, speculative, pin, front
            )
        except BufferError as error:
            raise Overloaded(f"The server is overloaded: {self._bounds} wait for the model") from error

    def take(
        self, limits: BatchLimits, arena: Arena | None, interrupt: Interrupt | None, pin: Pin | None = None
    ) -> Taken | None:
        """As `JobSource.take`. Waits without the GIL. `fill` completes the audio."""
        max_samples = 0 if limits.max_seconds == math.inf else max(1, int(limits.max_seconds * self._rate))
        return self._queue.take(limits.max_items, max_samples, limits.window_s, arena, interrupt, pin)

    def fill(self, jobs: Sequence[Job], audio: NDArray[np.float32]) -> None:
        """Writes the audio of the jobs that have another rate than the model into their rows."""
        for index, job in enumerate(jobs):
            if job.sample_rate != self._rate:
                resampled = resample(job.audio, job.sample_rate, self._rate)
                audio[index, : len(resampled)] = resampled

    def depths(self) -> tuple[int, int, int]:
        """How many finals, speculative calls and interims wait."""
        finals, interims, _, speculative = self._queue.depths()
        return finals, speculative, interims

    @property
    def queued_s(self) -> float:
        """Seconds of audio that wait."""
        return self._queue.depths()[2] / self._rate
