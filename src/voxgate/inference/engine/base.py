"""The engine seam: what a job is, where an engine gets jobs from, and what it owes for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from voxgate._native.batch import Interrupt
from voxgate.errors import InferenceError, VoxgateError
from voxgate.models.base import Batch, Model, Samples
from voxgate.runtime.logs import LogContext

__all__ = [
    "Arena",
    "BatchLimits",
    "Batched",
    "Call",
    "Engine",
    "EngineCounts",
    "Job",
    "JobSource",
    "Outcome",
    "State",
    "Work",
]

Outcome: TypeAlias = Mapping[str, Any] | VoxgateError | None
"""What came of one job: the model's result, or the error that stands in its place. None: a stateful call had nothing
to say."""

Arena: TypeAlias = bytearray | memoryview
"""Writable memory of an engine's, aligned to 4 bytes, that a batch is written into."""

Call: TypeAlias = Literal["infer", "step", "finish"]
"""Which method of the model a job is for."""


@dataclass(slots=True, eq=False)
class State:
    """What a stateful model keeps of one channel of one session. Made by a runner, one for all jobs of the channel;
    opened by the engine before the first call, and dropped with the last reference to it.

    Never used by two calls at once: the runner submits a job of a channel only after the one before was answered.
    """

    value: Any = None
    """What `Model.open` returned, once `opened`; an engine that runs the model elsewhere puts here what it needs."""
    opened: bool = False
    lost: bool = False
    """A call did not return in time, or its worker died: every later call is answered with an error."""


@dataclass(slots=True)
class StreamLoad:
    """The calls of one stream that are owed."""

    n_owed: int = 0
    n_running: int = 0
    free_s: float = 0.0
    """Since when none of them runs, on the scheduler's clock; 0: none ever did."""


@dataclass(slots=True, eq=False)
class Batched:
    """What the traced jobs of one `take` know of each other. Holds no job, which would be a circle."""

    traced: list[object]
    """The `trace` of each of them."""
    size: int
    """Jobs in all."""
    mark: Any = None
    """The tracer's own."""


@dataclass(slots=True, eq=False)
class Job:
    """One model call that somebody waits for. Made by a runner, given to the scheduler, answered through `on_done`.

    The first nine fields are the maker's and stay as they are; the others are the scheduler's to write and are
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
    """Called once, on the loop's thread, with one of `result` and `error` set (neither, when a stateful call had
    nothing to say); never after the job was cancelled or withdrawn."""
    call: Call = "infer"
    """`step` and `finish` need `state`; such a job always runs alone."""
    state: State | None = None
    context: LogContext | None = None
    """Whose log lines a worker writes while it is at this job."""
    trace: object | None = None
    """Anything, if the job is traced."""

    result: Mapping[str, Any] | None = None
    error: VoxgateError | None = None
    queue_s: float = 0.0
    """Seconds from submit until an engine took the job."""
    run_s: float = 0.0
    """Seconds from there until the outcome: that of the whole batch, when the job was part of one."""
    batch_size: int = 0
    """Number of jobs the engine took together, this one included; 0: it never ran."""
    attempts: int = 0
    """How often an engine took it; more than once only when a worker died of it or beside it."""
    deadline_s: float = math.inf
    """When it has to be answered, on the scheduler's clock (`time.perf_counter`); then it is answered with an error,
    and whatever comes of it later is dropped. An interim that runs is answered when it returns: nobody waits for it."""
    cancelled: bool = False
    """Nobody waits any more. May turn true at any time while the job runs; its outcome is then dropped."""
    owed: bool = False
    """Accepted, and neither answered nor cancelled yet. False: no need to run it, or to run it again."""
    settled: bool = False
    """What it will be answered with is decided."""
    batch: Batched | None = None
    """When any of the jobs taken together is traced."""
    submitted_s: float = field(default=0.0, repr=False)
    taken_s: float = field(default=0.0, repr=False)
    load: StreamLoad | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one `take` may bring."""

    max_items: int
    """At least 1; 1 for a model without `infer_batch`."""
    max_seconds: float = math.inf
    """Of audio, padding included: items times the longest. A single job may be longer."""
    window_s: float = 0.0
    """How long to wait for company when less than `max_items` are there. 0: not at all."""


class Work:
    """One batch: the jobs, in order of their rows, and their audio at the model's rate.

    The audio of a batch of one, taken without an arena, may be the job's own array; that of a larger batch is a copy,
    so that `job.audio` is still untouched after the model has changed the batch.
    """

    __slots__ = ("batch", "jobs")

    jobs: list[Job]
    batch: Batch

    def __init__(self, jobs: list[Job], batch: Batch) -> None:
        self.jobs = jobs
        self.batch = batch

    def __len__(self) -> int:
        return len(self.jobs)


class JobSource(Protocol):
    """What an engine works for: the scheduler, seen from a worker. Any thread may call it.

    Every job that was taken is handed back exactly once, by `finish` or by `requeue`.
    """

    def take(self, limits: BatchLimits, arena: Arena | None = None, interrupt: Interrupt | None = None) -> Work | None:
        """Waits for work and returns as much of it as the limits allow, and as fits into `arena`, but at least one
        job.

        With an arena, the rows of the batch lie at its beginning, one after the other, and `Work.batch.audio` is a
        view of it: nobody else writes there until the next `take`. A job that alone is too long for it is answered
        with an error and never seen here. Jobs for `step` and `finish` come alone.

        Returns None when there will be no more: the worker ends. And, without any job, when `interrupt` is set: the
        worker cannot work any more.
        """
        ...

    def interrupt(self, interrupt: Interrupt) -> None:
        """Sets `interrupt`: the `take` that has it returns, and so does every later one."""
        ...

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Hands back jobs of one `take`, with one outcome for each, in the same order."""
        ...

    def requeue(self, jobs: Sequence[Job]) -> None:
        """Hands back jobs of one `take` whose worker died. Finals are run once more, before everything else, when
        this was their first attempt; all others, and stateful calls, are answered with an error.
        """
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
    crashes: int = 0
    """Workers that died by themselves."""
    kills: int = 0
    """Workers that were ended because their call did not."""
    restarts: int = 0
    """Workers started in place of one that was gone."""

    def add_batch(self, outcomes: Sequence[Outcome], retried: bool) -> None:
        n_refused = sum(isinstance(outcome, InferenceError) for outcome in outcomes)
        n_errors = sum(isinstance(outcome, VoxgateError) for outcome in outcomes)
        self.batches += 1
        self.jobs += len(outcomes)
        self.results += len(outcomes) - n_errors
        self.inference_errors += n_refused
        self.failures += n_errors - n_refused
        self.retried_batches += retried


class Engine(Protocol):
    """Runs a model somewhere. Workers pull: each takes a batch from the source, runs it, hands it back, and so on,
    for ever.

    A model's exception never ends a worker, and every job that was taken is handed back exactly once.
    """

    @property
    def model(self) -> Model: ...

    @property
    def kind(self) -> str:
        """Where the model runs, in a word: `threads` or `process`."""
        ...

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
        """Whether there is any worker that takes work, or will when its call returns."""
        ...

    @property
    def stalled_s(self) -> float:
        """Seconds for which no worker has come back: 0 while any of them waits for work, otherwise the age of the
        youngest running call (for as long as it has lasted, a worker that is being restarted counts as busy).
        """
        ...
