"""The engine of native threads in the server's own process: the default."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial

from voxgate.errors import ConfigError, InternalError
from voxgate.inference.engine.base import EngineCounts, JobOutcome, JobSource, Work
from voxgate.inference.engine.failures import FailureLog, log_left_behind
from voxgate.inference.engine.interims import JobInterims
from voxgate.inference.engine.invoker import Invocation, Invoker
from voxgate.inference.engine.trial import batch_limits
from voxgate.inference.engine.warm_up import WarmUp
from voxgate.models.base import Model
from voxgate.runtime.cpus import usable_cpus
from voxgate.runtime.tasks import spawn_thread
from voxgate.runtime.time_limit import TimeLimit

__all__ = ["ThreadEngine"]

logger = logging.getLogger("voxgate.inference.engine")

_MAX_THREADS = 1024
_SUBSYSTEM = "engine"


class ThreadEngine:
    """N threads, named ``voxgate-infer-0`` and so on, each running one batch at a time on the one shared model.

    A worker takes one job, or, when the model defines `infer_batch`, up to `max_batch_size` queued jobs with at most
    `max_batch_seconds` of padded audio; it waits for more jobs for at most `batch_window_s`.

    Threads share the process with the event loop, so the model must release the GIL while it computes or waits; a model
    that declares `holds_gil` runs all the same, with a warning. Nothing can end a call from outside: at the deadline
    its jobs are answered, but the thread stays in the call until it returns.
    """

    def __init__(
        self,
        model: Model,
        threads: int = 0,
        max_batch_size: int = 16,
        max_batch_seconds: float = 120.0,
        batch_window_s: float = 0.0,
        start_anyway: bool = False,
    ) -> None:
        """threads: 1..1024; 0 = the model's own `threads`, or one per CPU that this process may use. max_batch_size: at
        least 1. max_batch_seconds: above 0. batch_window_s: at least 0. start_anyway: also when the results of the
        trial calls cannot be sent.

        Raises ConfigError for any other number, and for a model that must not run in the server's process.
        """
        if not 0 <= threads <= _MAX_THREADS:
            raise ConfigError(f"inference.threads must be within 0..{_MAX_THREADS}, not {threads}")
        self._limits = batch_limits(model, max_batch_size, max_batch_seconds, batch_window_s)
        if model.asynchronous:
            raise ConfigError(
                f"model {model.name!r} is async def, and threads do not run coroutines: expected inference.engine ="
                " 'async' or 'auto'"
            )
        if model.needs_process:
            raise ConfigError(
                f"model {model.name!r} must not run on threads inside the server's process, because"
                f" {model.needs_process}: expected worker processes (inference.engine = 'process')"
            )
        self._model = model
        self._concurrency = threads or min(model.threads or usable_cpus(), _MAX_THREADS)
        self._failures = FailureLog(logger)
        self._invoker = Invoker(model, self._failures)
        self._warm_up = WarmUp(model, self._failures, self._limits, start_anyway)
        self._threads: list[threading.Thread] = []  # noqa: TID251 -- the type alone
        self._lock = threading.Lock()
        self._counts = EngineCounts()
        self._busy_since_s: list[float | None] = []

    @property
    def model(self) -> Model:
        return self._model

    @property
    def kind(self) -> str:
        return "threads"

    @property
    def gives_text(self) -> bool | None:
        return self._warm_up.gives_text

    @property
    def concurrency(self) -> int:
        return self._concurrency

    @property
    def ready(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    @property
    def stalled_s(self) -> float:
        busy_since_s = [since_s for since_s in list(self._busy_since_s) if since_s is not None]
        if not busy_since_s or len(busy_since_s) < len(self._busy_since_s):
            return 0.0
        return max(0.0, time.monotonic() - max(busy_since_s))

    def counts(self) -> EngineCounts:
        with self._lock:
            return replace(self._counts)

    def start(self, source: JobSource) -> None:
        """Starts the threads. They are daemons: a model that never returns cannot keep the process from exiting."""
        if self._threads:
            raise AssertionError("the engine was started twice")
        if self._model.holds_gil:
            logger.warning(
                "model %r holds the GIL while it computes: on threads it freezes the whole server during each call",
                self._model.name,
            )
        self._busy_since_s = [None] * self._concurrency
        self._threads = [
            spawn_thread(partial(self._work, source, i), f"voxgate-infer-{i}", daemon=True, subsystem=_SUBSYSTEM)
            for i in range(self._concurrency)
        ]

    def warm_up(self) -> float:
        """As `trial.prepare`; `counts()` leaves these calls out."""
        return self._warm_up.run(self._model)

    def stop(self, timeout_s: float | None = None) -> bool:
        self._warm_up.stop()
        limit = TimeLimit(timeout_s)
        for thread in self._threads:
            thread.join(limit.left_s)
        n_running = sum(thread.is_alive() for thread in self._threads)
        n_running += not self._warm_up.wait(limit.left_s)
        if n_running:
            log_left_behind(logger, n_running, self._model.name)
            return False
        self._invoker.close()
        return True

    def _work(self, source: JobSource, index: int) -> None:
        while (work := source.take(self._limits)) is not None:
            self._busy_since_s[index] = time.monotonic()
            source.finish(work.jobs, self._run(work, source))
            self._busy_since_s[index] = None
            del work  # A worker that waits keeps no audio alive.

    def _run(self, work: Work, source: JobSource) -> list[JobOutcome]:
        jobs, rate = work.jobs, self._model.sample_rate
        try:
            job = jobs[0]
            if job.state is not None:
                outcome = self._invoker.call(job.method, work.batch[0], job.state, work.batch.requests[0])
                invocation = Invocation([outcome])
            else:
                invocation = self._invoker.invoke(
                    work.batch, lambda index: work.original(index, rate), JobInterims(jobs, source)
                )
            with self._lock:
                self._counts.add_batch(invocation.outcomes, invocation.retried)
        except Exception:
            logger.exception("a bug of ours: a worker failed outside the model")
            return [InternalError() for _ in jobs]
        return invocation.outcomes
