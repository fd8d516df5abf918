"""The engine seam: what a job is, where an engine gets jobs from, and what it owes for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from voxgate.errors import VoxgateError
from voxgate.models.base import Model, Samples

__all__ = ["Engine", "EngineCounts", "Job", "JobSource", "Outcome"]

Outcome: TypeAlias = Mapping[str, Any] | VoxgateError
"""What came of one job: the model's result, or the error that stands in its place."""


@dataclass(slots=True, eq=False)
class Job:
    """One model call that somebody waits for. Made by a runner, given to the scheduler, answered through `on_done`.

    The first five fields are the maker's and stay as they are; the others are the scheduler's to write and are
    settled when `on_done` is called. Two jobs are never equal, so a job is its own identity.
    """

    audio: Samples
    """float32, shape (samples,). Not read by anybody after `on_done`; the model may change it."""
    sample_rate: int
    """Hz, of `audio`; where the model wants another rate, the engine resamples."""
    final: bool
    """The lane: finals run before interims."""
    stream: object
    """Whose job it is, by identity; jobs of one stream compete as one."""
    on_done: Callable[[Job], None]
    """Called once, on the loop's thread, with exactly one of `result` and `error` set; never after the job was
    cancelled."""

    result: Mapping[str, Any] | None = None
    error: VoxgateError | None = None
    queue_s: float = 0.0
    """Seconds from submit until an engine took the job."""
    run_s: float = 0.0
    """Seconds from there until the outcome: that of the whole batch, when the job was part of one."""
    batch_size: int = 0
    """Number of jobs the engine took together, this one included; 0: it never ran."""
    cancelled: bool = False
    """Nobody waits any more. May turn true at any time while the job runs; its outcome is then dropped."""
    owed: bool = False
    """Accepted, and neither answered nor cancelled yet."""
    submitted_s: float = field(default=0.0, repr=False)
    taken_s: float = field(default=0.0, repr=False)


class JobSource(Protocol):
    """What an engine works for: the scheduler, seen from a worker. Any thread may call it."""

    def take(self, max_jobs: int) -> list[Job]:
        """Waits for work and returns 1..`max_jobs` jobs, in the order to run them: what is there, never waiting for
        company.

        Returns an empty list when there will be no more: the worker ends.
        """
        ...

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Hands back all that one `take` returned, with one outcome for each, in the same order."""
        ...


@dataclass(slots=True)
class EngineCounts:
    """What an engine's workers have done since it was made. All only ever grow."""

    batches: int = 0
    """Model calls made on behalf of one `take`, of one job or several."""
    jobs: int = 0
    results: int = 0
    inference_errors: int = 0
    """Jobs that the model refused with an InferenceError."""
    failures: int = 0
    """Jobs that ended with any other exception, or with something that is no result."""
    retried_batches: int = 0
    """Batches that failed as a whole and were run again item by item."""


class Engine(Protocol):
    """Runs a model somewhere. Workers pull: each takes a batch from the source, runs it, hands it back, and so on,
    for ever.

    A model's exception never ends a worker, and every job that was taken is handed back exactly once.
    """

    @property
    def model(self) -> Model: ...

    @property
    def concurrency(self) -> int:
        """How many batches can run at once."""
        ...

    def start(self, source: JobSource) -> None:
        """Brings the workers up; returns at once. Raises ConfigError when this engine cannot run this model."""
        ...

    def warm_up(self) -> float:
        """Makes the model ready and returns the seconds this took. Blocking: never on the event loop's thread. Raises
        ModelLoadError when the model cannot be made ready.
        """
        ...

    def stop(self, timeout_s: float | None = None) -> bool:
        """Waits, after the source has been closed, until running calls have been handed back; then closes the model.

        Blocking. Returns False when calls still run after `timeout_s`; the model is then left open.
        """
        ...

    def counts(self) -> EngineCounts:
        """A snapshot; any thread may ask for it."""
        ...

    @property
    def ready(self) -> bool:
        """Whether any worker can make progress."""
        ...
