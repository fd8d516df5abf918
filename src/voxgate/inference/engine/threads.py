"""The engine of native threads in the server's own process: the default."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from voxgate.audio.soxr import resample
from voxgate.errors import ConfigError, InternalError, ModelLoadError
from voxgate.inference.engine.base import BatchLimits, EngineCounts, Job, JobSource, Outcome, State, Work
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invocation, Invoker
from voxgate.inference.engine.trial import faint_noise, report_trial
from voxgate.models.base import Batch, Model, Samples
from voxgate.models.loader import explained
from voxgate.runtime.tasks import spawn_thread

__all__ = ["ThreadEngine"]

logger = logging.getLogger("voxgate.inference.engine")

_MAX_THREADS = 1024
_SUBSYSTEM = "engine"


class ThreadEngine:
    """N threads, named ``voxgate-infer-0`` and so on, each running one batch at a time on the one shared model.

    A worker takes what waits: one job, or when the model defines `infer_batch` up to `max_batch_size` of them and
    `max_batch_seconds` of padded audio; it waits for more for `batch_window_s` at most.

    Threads share the process with the event loop, so the model must release the GIL while it computes or waits; a model
    that says it does not (`holds_gil`) is run all the same, with a warning. A call cannot be ended from outside: when
    its jobs' time is up they are answered, but the thread stays with it until it returns.
    """

    def __init__(
        self,
        model: Model,
        threads: int = 0,
        max_batch_size: int = 16,
        max_batch_seconds: float = 120.0,
        batch_window_s: float = 0.0,
    ) -> None:
        """threads: 1..1024; 0 = the model's own `threads`, or one per CPU this process may use. max_batch_size: at
        least 1. max_batch_seconds: above 0. batch_window_s: at least 0.

        Raises ConfigError for any other number, and for a model which must not run in the server's process.
        """
        if not 0 <= threads <= _MAX_THREADS:
            raise ConfigError(f"inference.threads must be within 0..{_MAX_THREADS}, not {threads}")
        if max_batch_size < 1:
            raise ConfigError(f"inference.max_batch_size must be at least 1, not {max_batch_size}")
        if not max_batch_seconds > 0:
            raise ConfigError(f"inference.max_batch_seconds must be above 0, not {max_batch_seconds}")
        if not 0 <= batch_window_s < math.inf:
            raise ConfigError(f"inference.batch_window_ms must be at least 0, not {batch_window_s * 1000:g}")
        if model.needs_process:
            raise ConfigError(
                f"model {model.name!r} must not run on threads inside the server's process, because"
                f" {model.needs_process}: expected worker processes (inference.isolation = 'process')"
            )
        self._model = model
        self._concurrency = threads or min(model.threads or _usable_cpus(), _MAX_THREADS)
        if model.batches and max_batch_size > 1:
            self._limits = BatchLimits(max_batch_size, max_batch_seconds, batch_window_s)
        else:
            self._limits = BatchLimits(1)
        self._invoker = Invoker(model, FailureLog(logger))
        self._warming = threading.Lock()  # held while the model warms up
        self._stopping = False
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
        """Runs `model.warm_up()`, then a trial call with one second of noise at -60 dBFS, one with a batch of two if
        the model defines `infer_batch`, and a short session if it is stateful: what only the first call pays is paid
        here.

        An exception of `model.warm_up()` raises ModelLoadError. A trial call that fails is logged and nothing else,
        for noise need not be something a model can answer. Not counted in `counts()`.
        """
        with self._warming:
            return self._warm_up()

    def _warm_up(self) -> float:
        started_s = time.perf_counter()
        try:
            self._model.warm_up()
        except (Exception, SystemExit) as error:
            raise ModelLoadError(f"warm-up of model {self._model.name!r} failed: {explained(error)}") from error
        for outcome in self._trial_outcomes():
            if self._stopping:
                break
            report_trial(self._model.name, outcome)
        elapsed_s = time.perf_counter() - started_s
        logger.info("model %r is warm after %.2f s", self._model.name, elapsed_s)
        return elapsed_s

    def _trial_outcomes(self) -> Iterator[Outcome]:
        model, rate = self._model, self._model.sample_rate
        if model.stateless:
            for n_items in (1, 2) if self._limits.max_items > 1 else (1,):
                yield from self._invoker.invoke(Batch.gather([faint_noise(rate) for _ in range(n_items)])).outcomes
        if model.stateful:
            state = State()
            yield self._invoker.call("step", faint_noise(rate), state)
            yield self._invoker.call("finish", np.empty(0, np.float32), state)

    def stop(self, timeout_s: float | None = None) -> bool:
        self._stopping = True
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        n_running = sum(thread.is_alive() for thread in self._threads)
        # A warm-up that was not waited for may still be in the model.
        wait_s = -1 if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if self._warming.acquire(timeout=wait_s):
            self._warming.release()
        else:
            n_running += 1
        if n_running:
            logger.warning("%d calls of model %r still run: leaving them behind", n_running, self._model.name)
            return False
        try:
            self._model.close()
        except (Exception, SystemExit) as error:
            logger.error("closing model %r failed", self._model.name, exc_info=error)
        return True

    def _work(self, source: JobSource, index: int) -> None:
        while work := source.take(self._limits):
            self._busy_since_s[index] = time.monotonic()
            source.finish(work.jobs, self._run(work))
            self._busy_since_s[index] = None
            del work  # A worker that waits keeps no audio alive.

    def _run(self, work: Work) -> list[Outcome]:
        jobs = work.jobs

        def original(index: int) -> Samples | None:
            return self._at_model_rate(jobs[index]) if jobs[index].owed else None

        try:
            job = jobs[0]
            if job.state is not None:
                invocation = Invocation([self._invoker.call(job.call, work.batch[0], job.state)])
            else:
                invocation = self._invoker.invoke(work.batch, original)
            with self._lock:
                self._counts.add_batch(invocation.outcomes, invocation.retried)
        except Exception:
            logger.exception("a bug of ours: a worker failed outside the model")
            return [InternalError("Internal server error") for _ in jobs]
        return invocation.outcomes

    def _at_model_rate(self, job: Job) -> Samples:
        rate = self._model.sample_rate
        return job.audio if job.sample_rate == rate else resample(job.audio, job.sample_rate, rate)


def _usable_cpus() -> int:
    """CPUs this process may run on, which in a container is often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
