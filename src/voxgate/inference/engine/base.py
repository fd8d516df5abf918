"""The engine seam: what a job is, where an engine takes jobs from, and what it must do with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from voxgate._native.batch import Interrupt
from voxgate.audio.soxr import resample
from voxgate.errors import InferenceError, VoxgateError
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.request import Request
from voxgate.protocol.output import Output
from voxgate.runtime.logs import LogContext

__all__ = [
    "Arena",
    "BatchLimits",
    "CallMethod",
    "Engine",
    "EngineCounts",
    "Job",
    "JobOutcome",
    "JobSource",
    "Pin",
    "State",
    "TracedBatch",
    "Work",
]

JobOutcome: TypeAlias = Output | VoxgateError | None
"""How one job ended: with the model's result, or with an error. None: the model has nothing to say."""

Arena: TypeAlias = bytearray | memoryview
"""Writable memory of an engine, aligned to 4 bytes, into which a batch is written."""

_NO_REQUEST = Request()

CallMethod: TypeAlias = Literal["infer", "step", "finish"]
"""The method of the model that a job calls."""


@dataclass(slots=True, eq=False)
class Pin:
    """A worker that keeps states: it alone runs the calls of the states that are pinned to it."""

    is_lost: bool = False
    """The worker has ended."""


@dataclass(slots=True, eq=False)
class State:
    """The state of a stateful model for one channel of one session. A route makes one for all jobs of the channel; the
    engine opens it before the first call; the last reference to it drops it.

    Two calls never use it at once: the route submits a job of a channel only after the previous one was answered.
    """

    value: Any = None
    """The return value of `Model.open`, once `opened`; an engine that runs the model elsewhere stores here what it
    needs."""
    opened: bool = False
    lost: bool = False
    """A call did not return in time, or its worker died: every later call is answered with an error."""
    pin: Pin | None = None
    """Set by an engine whose workers keep states, before it finishes the first call."""


@dataclass(slots=True)
class StreamLoad:
    """The pending calls of one stream."""

    n_pending: int = 0
    n_running: int = 0
    free_s: float = 0.0
    """Since when no call runs, on the scheduler's clock; 0: none has ever run."""


@dataclass(slots=True, eq=False)
class TracedBatch:
    """What the traced jobs of one `take` share. It refers to no job, so that there is no reference cycle."""

    traced: list[object]
    """The `trace` of each traced job."""
    size: int
    """Number of jobs, traced or not."""
    mark: Any = None
    """For the tracer."""


@dataclass(slots=True, eq=False)
class Job:
    """One model call. A route makes it, the scheduler accepts it and answers it through `on_done`.

    The maker sets the first eleven fields, which then stay as they are; the scheduler writes the others, and they are
    final when `on_done` is called. Two jobs are never equal: a job is its own identity.
    """

    audio: Samples
    """float32, shape (samples,). Nothing reads it after `on_done`; the model may change it."""
    sample_rate: int
    """Hz, of `audio`; the scheduler resamples where the model needs another rate."""
    final: bool
    """The lane: finals run before interims."""
    stream: object
    """The stream of the job, by identity; the jobs of one stream share one place in the fair order."""
    on_done: Callable[[Job], None]
    """Called once, on the loop's thread, with one of `result` and `error` set (neither, when the model has nothing
    to say); never after the job was cancelled or withdrawn."""
    method: CallMethod = "infer"
    """`step` and `finish` need `state`; such a job always runs alone."""
    state: State | None = None
    context: LogContext | None = None
    """The log context of the lines that a worker writes while it runs this job."""
    trace: object | None = None
    """Any object, if the job is traced."""
    request: Request = _NO_REQUEST
    """What the model may know about the call."""
    speculative: bool = False
    """A final that may not be needed: it runs after finals and before interims, and its failure is nobody's.
    `Scheduler.promote` sets it to False."""
    group: object | None = None
    """Jobs share a batch only with jobs of the same group, by identity."""

    result: Output | None = None
    error: VoxgateError | None = None
    queue_s: float = 0.0
    """Seconds from submit until an engine took the job."""
    run_s: float = 0.0
    """Seconds from then until the outcome: of the whole batch, when the job was part of one."""
    batch_size: int = 0
    """Number of jobs that the engine took together, this one included; 0: it never ran."""
    attempts: int = 0
    """How often an engine took it; more than once only when a worker died during the first attempt."""
    deadline_s: float = math.inf
    """When the scheduler answers it with an error, on the scheduler's clock (`time.perf_counter`); a later outcome is
    dropped. An interim that runs is answered when it returns."""
    on_partial: Callable[[Job, Output], None] | None = None
    """Called on the loop's thread, before `on_done`, with interim results of the running call; only with the newest one
    when several came meanwhile. None: nobody needs them."""
    partial: Output | None = None
    """The interim result that is not delivered yet."""
    on_cancel: Callable[[], None] | None = field(default=None, repr=False)
    """Set by an engine that can end the running call: called once the call is no longer needed, on the loop's thread;
    it may be called again, and after the call. Must not block."""
    dropped: bool = False
    """The call is no longer needed, but still answered when it returns. May turn true at any time."""
    cancelled: bool = False
    """May turn true at any time while the job runs; its outcome is then dropped."""
    pending: bool = False
    """Accepted, and neither answered nor cancelled yet. False: no need to run it, or to run it again."""
    settled: bool = False
    """Its outcome is decided."""
    batch: TracedBatch | None = None
    """Set when any of the jobs that were taken together is traced."""
    submitted_s: float = field(default=0.0, repr=False)
    taken_s: float = field(default=0.0, repr=False)
    load: StreamLoad | None = field(default=None, repr=False)

    @property
    def is_needed(self) -> bool:
        """Whether anybody waits for its result. False: the engine may end the call. Any thread."""
        return self.pending and not self.settled and not self.dropped


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batch that one `take` may return."""

    max_items: int
    """At least 1; 1 for a model without `infer_batch`."""
    max_seconds: float = math.inf
    """Of audio with padding: the number of items times the longest. A single job may be longer."""
    window_s: float = 0.0
    """How long to wait for more jobs when fewer than `max_items` are queued. 0: not at all."""


class Work:
    """One batch: the jobs, in the order of their rows, and their audio at the model's rate.

    The audio of a batch of one, taken without an arena, may be the job's own array; that of a larger batch is a copy,
    so that `job.audio` is still unchanged after the model has changed the batch.
    """

    __slots__ = ("batch", "jobs")

    jobs: list[Job]
    batch: Batch

    def __init__(self, jobs: list[Job], batch: Batch) -> None:
        self.jobs = jobs
        self.batch = batch

    def __len__(self) -> int:
        return len(self.jobs)

    def original(self, index: int, sample_rate: int) -> Samples | None:
        """The audio of one job at `sample_rate`, in Hz, as it was before the model could change it; None: nobody needs
        its result any more. For a second try of a batch of several. Any thread.
        """
        job = self.jobs[index]
        if not job.is_needed:
            return None
        return job.audio if job.sample_rate == sample_rate else resample(job.audio, job.sample_rate, sample_rate)


class JobSource(Protocol):
    """Where an engine takes jobs from: the scheduler, as a worker sees it. Any thread may call it.

    The engine returns every job that it took exactly once, by `finish` or by `requeue`.
    """

    def take(
        self,
        limits: BatchLimits,
        arena: Arena | None = None,
        interrupt: Interrupt | None = None,
        pin: Pin | None = None,
    ) -> Work | None:
        """Waits for jobs and returns as many as the limits allow and as fit into `arena`, but at least one.

        With an arena, the rows of the batch lie at its beginning, one after the other, and `Work.batch.audio` is a
        view of it: nothing else writes there until the next `take`. A job that alone is too long for the arena is
        answered with an error and never returned. Jobs for `step` and `finish` come alone, and, once their state is
        pinned, only to the worker of that pin.

        Returns None when the source is closed and empty: the worker ends. Returns None also when `interrupt` is set,
        and then takes no job.
        """
        ...

    def interrupt(self, interrupt: Interrupt) -> None:
        """Sets `interrupt`: the `take` that waits with it returns, and so does every later one."""
        ...

    def unpin(self, pin: Pin) -> None:
        """The worker of `pin` has ended, and the states that it kept are lost: the calls that wait for it are answered
        with an error, and so is the next call of each of these states.
        """
        ...

    def partial(self, job: Job, output: Output) -> None:
        """An interim result of a running call, for its `on_partial`. A newer one replaces one that is not delivered."""
        ...

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[JobOutcome]) -> None:
        """Returns jobs of one `take`, with one outcome for each, in the same order."""
        ...

    def requeue(self, jobs: Sequence[Job]) -> None:
        """Returns jobs of one `take` whose worker died. A final whose first attempt this was runs once more, before
        everything else; the others, and stateful calls, are answered with an error.
        """
        ...


@dataclass(slots=True)
class EngineCounts:
    """What the workers of an engine did since it was made. All numbers only grow."""

    batches: int = 0
    """Model calls for one `take`, of one job or several."""
    jobs: int = 0
    results: int = 0
    inference_errors: int = 0
    """Jobs that the model refused with an InferenceError."""
    failures: int = 0
    """Jobs that ended with any other exception, or with an invalid result."""
    retried_batches: int = 0
    """Batches that failed as a whole and were run again item by item."""
    crashes: int = 0
    """Workers that died by themselves."""
    kills: int = 0
    """Workers that were killed because their call took too long."""
    restarts: int = 0
    """Workers that were started in place of one that had ended."""

    def add_batch(self, outcomes: Sequence[JobOutcome], retried: bool) -> None:
        n_refused = n_errors = 0
        for outcome in outcomes:
            if isinstance(outcome, VoxgateError):
                n_errors += 1
                n_refused += isinstance(outcome, InferenceError)
        self.batches += 1
        self.jobs += len(outcomes)
        self.results += len(outcomes) - n_errors
        self.inference_errors += n_refused
        self.failures += n_errors - n_refused
        self.retried_batches += retried


class Engine(Protocol):
    """Runs a model somewhere. Its workers pull: each takes a batch from the source, runs it, returns it, and repeats.

    No exception of a model ends a worker, and the engine returns every job that it took exactly once.
    """

    @property
    def model(self) -> Model: ...

    @property
    def kind(self) -> str:
        """Where the model runs, in one word: `threads`, `process`, `async` or `ray`."""
        ...

    @property
    def concurrency(self) -> int:
        """How many batches can run at once. It may change."""
        ...

    def start(self, source: JobSource) -> None:
        """Starts the workers; returns at once. Raises ConfigError when this engine cannot run this model."""
        ...

    def warm_up(self) -> float:
        """Prepares the model and returns the seconds that this took. Blocks: never call it on the event loop's thread.
        Raises ModelLoadError when the model cannot be prepared.
        """
        ...

    def stop(self, timeout_s: float | None = None) -> bool:
        """Waits, after the source was closed, until running calls have returned; then closes the model.

        Blocks. Returns False when calls still run after `timeout_s`; the model then stays open.
        """
        ...

    def counts(self) -> EngineCounts:
        """A snapshot. Any thread."""
        ...

    @property
    def gives_text(self) -> bool | None:
        """Whether the results of the model carry text, as it declares or as the trial calls showed; None: unknown."""
        ...

    @property
    def ready(self) -> bool:
        """Whether any worker takes work, or will when its call returns."""
        ...

    @property
    def stalled_s(self) -> float:
        """Seconds since a worker last returned: 0 while any worker waits for work, otherwise the age of the youngest
        running call. A worker that is being restarted counts as busy.
        """
        ...
