"""The engine of native threads in the server's own process: the default."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace

import numpy as np

from voxgate.audio import resample
from voxgate.engine.base import EngineCounts, Job, JobSource, Outcome
from voxgate.engine.failures import FailureLog
from voxgate.engine.invoker import Invocation, Invoker
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError, VoxgateError
from voxgate.models.base import Model, Samples
from voxgate.tasks import spawn_thread

__all__ = ["ThreadEngine"]

logger = logging.getLogger("voxgate.engine")

_MAX_THREADS = 1024
_SUBSYSTEM = "engine"


class ThreadEngine:
    """N threads, named ``voxgate-infer-0`` and so on, each running one batch at a time on the one shared model.

    A worker takes what waits, up to `max_batch_size` jobs when the model defines `infer_batch` and one otherwise; it
    never waits for more. Threads share the process with the event loop, so the model must release the GIL while it
    computes or waits; a model that says it does not (`holds_gil`) is run all the same, with a warning.
    """

    def __init__(self, model: Model, threads: int = 0, max_batch_size: int = 16) -> None:
        """threads: 1..1024; 0 = the model's own `threads`, or one per CPU this process may use. max_batch_size: at
        least 1.

        Raises ConfigError for any other number, and for a model which must not run in the server's process.
        """
        if not 0 <= threads <= _MAX_THREADS:
            raise ConfigError(f"inference.threads must be within 0..{_MAX_THREADS}, not {threads}")
        if max_batch_size < 1:
            raise ConfigError(f"inference.max_batch_size must be at least 1, not {max_batch_size}")
        if model.needs_process:
            raise ConfigError(
                f"model {model.name!r} must not run on threads inside the server's process, because"
                f" {model.needs_process}: expected worker processes (inference.isolation = 'process')"
            )
        self._model = model
        self._concurrency = threads or min(model.threads or _usable_cpus(), _MAX_THREADS)
        self._batch_limit = max_batch_size if model.batches else 1
        self._invoker = Invoker(model, FailureLog(logger))
        self._threads: list[threading.Thread] = []  # noqa: TID251 -- the type alone
        self._lock = threading.Lock()
        self._counts = EngineCounts()

    @property
    def model(self) -> Model:
        return self._model

    @property
    def concurrency(self) -> int:
        return self._concurrency

    @property
    def ready(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

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
        self._threads = [
            spawn_thread(lambda: self._work(source), f"voxgate-infer-{i}", daemon=True, subsystem=_SUBSYSTEM)
            for i in range(self._concurrency)
        ]

    def warm_up(self) -> float:
        """Runs `model.warm_up()`, then a trial call with one second of noise at -60 dBFS, and one with a batch of two
        if the model defines `infer_batch`: what only the first call pays is paid here.

        An exception of `model.warm_up()` raises ModelLoadError. A trial call that fails is logged and nothing else,
        for noise need not be something a model can answer. Not counted in `counts()`.
        """
        started_s = time.perf_counter()
        try:
            self._model.warm_up()
        except (Exception, SystemExit) as error:
            raise ModelLoadError(
                f"warm-up of model {self._model.name!r} failed: {type(error).__name__}: {error}"
            ) from error
        trials = [1, 2] if self._batch_limit > 1 else [1]
        for n_items in trials:
            noises = [_faint_noise(self._model.sample_rate) for _ in range(n_items)]
            for outcome in self._invoker.invoke(noises).outcomes:
                if isinstance(outcome, VoxgateError):
                    logger.warning(
                        "the trial call of model %r with a second of noise failed (%s): starting all the same",
                        self._model.name,
                        outcome.code,
                    )
        elapsed_s = time.perf_counter() - started_s
        logger.info("model %r is warm after %.2f s", self._model.name, elapsed_s)
        return elapsed_s

    def stop(self, timeout_s: float | None = None) -> bool:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        n_running = sum(thread.is_alive() for thread in self._threads)
        if n_running:
            logger.warning("%d calls of model %r still run: leaving them behind", n_running, self._model.name)
            return False
        try:
            self._model.close()
        except (Exception, SystemExit) as error:
            logger.error("closing model %r failed", self._model.name, exc_info=error)
        return True

    def _work(self, source: JobSource) -> None:
        while jobs := source.take(self._batch_limit):
            source.finish(jobs, self._run(jobs))
            del jobs  # A worker that waits keeps no audio alive.

    def _run(self, jobs: list[Job]) -> list[Outcome]:
        try:
            audios = [self._at_model_rate(job) for job in jobs]
            invocation = self._invoker.invoke(audios, lambda i: jobs[i].cancelled)
            self._count(invocation)
        except Exception:
            logger.exception("a bug of ours: a worker failed outside the model")
            return [InternalError("Internal server error") for _ in jobs]
        return invocation.outcomes

    def _at_model_rate(self, job: Job) -> Samples:
        rate = self._model.sample_rate
        return job.audio if job.sample_rate == rate else resample(job.audio, job.sample_rate, rate)

    def _count(self, invocation: Invocation) -> None:
        n_refused = n_failed = 0
        for outcome in invocation.outcomes:
            if isinstance(outcome, InferenceError):
                n_refused += 1
            elif isinstance(outcome, VoxgateError):
                n_failed += 1
        n_jobs = len(invocation.outcomes)
        with self._lock:
            counts = self._counts
            counts.batches += 1
            counts.jobs += n_jobs
            counts.results += n_jobs - n_refused - n_failed
            counts.inference_errors += n_refused
            counts.failures += n_failed
            counts.retried_batches += invocation.retried


def _usable_cpus() -> int:
    """CPUs this process may run on, which in a container is often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _faint_noise(sample_rate: int) -> Samples:
    """One second at -60 dBFS, the same every time; noise, because digital silence takes short cuts in some models."""
    noise: Samples = (1e-3 * np.random.default_rng(0).standard_normal(sample_rate)).astype(np.float32)
    return noise
