"""The engine of models that wait: coroutines on one event loop, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from voxgate.errors import ConfigError, InferenceError, InternalError
from voxgate.inference.engine.base import EngineCounts, Job, JobOutcome, JobSource, Work
from voxgate.inference.engine.failures import FailureLog, log_left_behind
from voxgate.inference.engine.interims import JobInterims
from voxgate.inference.engine.invoker import CANCELLED, Invocation, Invoker
from voxgate.inference.engine.trial import batch_limits
from voxgate.inference.engine.warm_up import WarmUp
from voxgate.models.base import Model
from voxgate.models.blocking import BlockingModel
from voxgate.runtime.loop_thread import LoopThread
from voxgate.runtime.tasks import spawn_task, spawn_thread
from voxgate.runtime.time_limit import TimeLimit
from voxgate.runtime.watchdog import Watchdog

__all__ = ["AsyncEngine"]

logger = logging.getLogger("voxgate.inference.engine")

_MAX_CONCURRENCY = 65_536
_SUBSYSTEM = "engine"


class AsyncEngine:
    """One thread, named ``voxgate-infer-loop``, runs the calls of an asynchronous model on an event loop, at most
    `concurrency` at once; a second one, ``voxgate-infer-pull``, takes the jobs from the source.

    A call that nobody needs any more (its client is gone, or its deadline has passed) is cancelled. One that goes on
    all the same keeps its place among the `concurrency` until it returns. A coroutine that blocks the loop delays all
    calls; the log shows its stack.
    """

    def __init__(
        self,
        model: Model,
        concurrency: int = 64,
        max_batch_size: int = 16,
        max_batch_seconds: float = 120.0,
        batch_window_s: float = 0.0,
        start_anyway: bool = False,
    ) -> None:
        """concurrency: 1..65536; a smaller `threads` of the model applies. The others as for ThreadEngine.

        Raises ConfigError for any other number, for a model that must not run in the server's process, and for one
        whose methods are plain functions.
        """
        if not 1 <= concurrency <= _MAX_CONCURRENCY:
            raise ConfigError(f"inference.concurrency must be within 1..{_MAX_CONCURRENCY}, not {concurrency}")
        self._limits = batch_limits(model, max_batch_size, max_batch_seconds, batch_window_s)
        if not model.asynchronous:
            raise ConfigError(
                f"model {model.name!r} defines plain functions, which would block the event loop of"
                " inference.engine = 'async': expected async def, or inference.engine = 'threads'"
            )
        if model.needs_process:
            raise ConfigError(
                f"model {model.name!r} must not run inside the server's process, because {model.needs_process}"
            )
        self._model = model
        self._concurrency = min(concurrency, model.threads or concurrency)
        self._failures = FailureLog(logger)
        self._invoker = Invoker(model, self._failures)
        self._warm_up = WarmUp(model, self._failures, self._limits, start_anyway)
        self._slots = threading.Semaphore(self._concurrency)
        self._thread: LoopThread | None = None
        self._puller: threading.Thread | None = None  # noqa: TID251 -- the type alone
        self._watchdog = Watchdog(None, lambda: (0, 0), f"the event loop of model {model.name!r}")
        self._changed = threading.Condition()
        self._counts = EngineCounts()
        self._calls: dict[_Call, float] = {}
        """Those that run, with the time at which they began."""

    @property
    def model(self) -> Model:
        return self._model

    @property
    def kind(self) -> str:
        return "async"

    @property
    def gives_text(self) -> bool | None:
        return self._warm_up.gives_text

    @property
    def concurrency(self) -> int:
        return self._concurrency

    @property
    def ready(self) -> bool:
        return self._puller is not None and self._puller.is_alive() and self._loop_thread.is_alive

    @property
    def stalled_s(self) -> float:
        with self._changed:
            since_s = list(self._calls.values())
        held_s = self._watchdog.held_s
        if len(since_s) < self._concurrency:
            return held_s if since_s else 0.0
        return max(held_s, time.monotonic() - max(since_s))

    def counts(self) -> EngineCounts:
        with self._changed:
            return replace(self._counts)

    def start(self, source: JobSource) -> None:
        if self._puller is not None:
            raise AssertionError("the engine was started twice")
        self._loop_thread.loop.call_soon_threadsafe(self._watchdog.start)
        self._puller = spawn_thread(lambda: self._pull(source), "voxgate-infer-pull", daemon=True, subsystem=_SUBSYSTEM)

    def warm_up(self) -> float:
        """As `ThreadEngine.warm_up`; what is `async def` runs on the engine's loop."""
        return self._warm_up.run(self._blocking())

    def stop(self, timeout_s: float | None = None) -> bool:
        """As in the seam; after the timeout it cancels the calls that still run, and leaves behind those that go on."""
        self._warm_up.stop()
        self._slots.release()  # Every place may be taken by a call that hangs.
        limit = TimeLimit(timeout_s)
        if self._puller is not None:
            self._puller.join(limit.left_s)
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, limit.left_s)
            left = list(self._calls)
        for call in left:
            call.cancel()
        n_running = len(left) + (not self._warm_up.wait(limit.left_s))
        if n_running or (self._puller is not None and self._puller.is_alive()):
            log_left_behind(logger, n_running, self._model.name)
            return False
        Invoker(self._blocking(), self._failures).close()
        if self._thread is None:
            return True
        self._thread.loop.call_soon_threadsafe(self._watchdog.stop)
        return self._thread.stop(limit.left_s)

    @property
    def _loop_thread(self) -> LoopThread:
        """Starts at its first use."""
        with self._changed:
            if self._thread is None:
                self._thread = LoopThread("voxgate-infer-loop", _SUBSYSTEM)
            return self._thread

    def _blocking(self) -> BlockingModel:
        thread = self._loop_thread
        return BlockingModel(self._model, lambda coro: thread.run(coro, "voxgate-infer-once"))

    # --- on the puller's thread ---

    def _pull(self, source: JobSource) -> None:
        loop = self._loop_thread.loop
        while True:
            self._slots.acquire()
            work = source.take(self._limits)
            if work is None:
                return
            call = _Call(self, source, work, loop)
            with self._changed:
                self._calls[call] = time.monotonic()
            loop.call_soon_threadsafe(
                call.begin
            )  # In the context of this thread, which names the sessions of the jobs.
            del work, call  # A puller that waits keeps no audio alive.

    # --- on the loop's thread ---

    async def run(self, call: _Call) -> None:
        """Runs one batch and returns its jobs to the source."""
        jobs, source = call.work.jobs, call.source
        outcomes: list[JobOutcome] = [InternalError() for _ in jobs]
        try:
            interims = JobInterims(jobs, source)
            if not interims.is_needed:
                outcomes = [InferenceError(CANCELLED) for _ in jobs]
                return
            invocation = await self._invoke(call.work, interims)
            outcomes = invocation.outcomes
            with self._changed:
                self._counts.add_batch(outcomes, invocation.retried)
        except BaseException:
            logger.exception("a bug of ours: a call failed outside the model")
        finally:
            source.finish(jobs, outcomes)
            with self._changed:
                del self._calls[call]
                self._changed.notify_all()
            self._slots.release()

    async def _invoke(self, work: Work, interims: JobInterims) -> Invocation:
        job, rate = work.jobs[0], self._model.sample_rate
        if job.state is not None:
            outcome = await self._invoker.call_async(
                job.method, work.batch[0], job.state, work.batch.requests[0], interims
            )
            return Invocation([outcome])
        return await self._invoker.invoke_async(work.batch, lambda index: work.original(index, rate), interims)


class _Call:
    """One batch that runs, or is about to."""

    __slots__ = ("_engine", "_loop", "_task", "source", "work")

    def __init__(self, engine: AsyncEngine, source: JobSource, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self.source = source
        self.work = work
        self._engine = engine
        self._loop = loop
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """On the loop's thread."""
        spawn_task(self._run(), f"call of {self._engine.model.name}", _SUBSYSTEM)

    def cancel(self) -> None:
        """Ends the call. Any thread."""
        self._loop.call_soon_threadsafe(self._cancel)

    async def _run(self) -> None:
        jobs = self.work.jobs
        self._task = asyncio.current_task()
        for job in jobs:
            job.on_cancel = self._cancel_unneeded
        try:
            await self._engine.run(self)
        finally:
            _forget(jobs)

    def _cancel_unneeded(self) -> None:
        """On the scheduler's thread: one of the jobs is not needed any more."""
        if not any(job.is_needed for job in self.work.jobs):
            self.cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _forget(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.on_cancel = None  # It refers to the job.
