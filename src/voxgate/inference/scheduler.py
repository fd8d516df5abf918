"""Decides which job runs next, and brings its result back to the event loop.

Between the loop's thread and the workers lie one compiled queue and one list of finished jobs
(:mod:`voxgate.inference.delivery`). The loop submits and never waits; workers wait in :meth:`Scheduler.take`, without
the GIL, until the queue has a batch for them.

The queue (:mod:`voxgate.inference.job_queue`) decides the order: finals, then speculative calls, then interims, and in
each lane the stream that was served least. :mod:`voxgate.inference.deadlines` limits the time of each job.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from voxgate._native.batch import Interrupt
from voxgate.errors import ConfigError, InferenceError, InternalError, VoxgateError
from voxgate.inference.deadlines import Deadlines
from voxgate.inference.delivery import Delivery
from voxgate.inference.engine.base import Arena, BatchLimits, Engine, Job, JobOutcome, Pin, TracedBatch, Work
from voxgate.inference.job_queue import JobQueue
from voxgate.inference.measures import SchedulerCounts, SchedulerTimes
from voxgate.inference.outcomes import CALL_OUTCOMES, SHUTTING_DOWN, ShuttingDown, TimedOut, WorkerDied, call_outcome
from voxgate.inference.queue_delay import QueueDelay
from voxgate.inference.stall_log import StallLog
from voxgate.models.base import Batch
from voxgate.protocol.output import Output
from voxgate.runtime import logs
from voxgate.runtime.logs import LogContext
from voxgate.runtime.tasks import run_in_thread

__all__ = ["Scheduler"]

logger = logging.getLogger("voxgate.inference.scheduler")

_SUBSYSTEM = "scheduler"

_request_of = attrgetter("request")

_MAX_ATTEMPTS = 2
"""How often a final runs when its worker dies."""


class Scheduler:
    """Accepts jobs on the loop's thread, gives them to an engine's workers, and answers each on the loop's thread.

    ``submit``, ``withdraw``, ``cancel`` and ``close`` belong to the loop's thread; any thread may call ``take``,
    ``finish`` and ``requeue``, which are for the engine, and read the counters. Every accepted job is answered exactly
    once, with a result or an error, unless it is withdrawn or cancelled: then never.
    """

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        max_jobs: int = 4096,
        clock: Callable[[], float] = time.perf_counter,
        *,
        max_seconds: float = 3600.0,
        stream_jobs: int = 512,
        stream_seconds: float = 600.0,
        deadline_s: float = 60.0,
    ) -> None:
        """Bounds of the queue, for all streams and for one: jobs, and seconds of audio (four bytes a sample at the
        model's rate). A bound in seconds always admits a single job. `deadline_s`: the time from submit to answer.
        ConfigError for jobs below 1, or any other number that is not above 0.

        `clock`: seconds; read once in each of submit, take and finish.
        """
        if not 0 < deadline_s < math.inf:
            raise ConfigError(f"inference.deadline_s must be above 0, not {deadline_s}")
        self._engine = engine
        self._loop = loop
        self._clock = clock
        self._deadline_s = deadline_s
        self._rate = engine.model.sample_rate
        self._queue = JobQueue(self._rate, max_jobs, max_seconds, stream_jobs, stream_seconds)
        self._counts = SchedulerCounts()
        self.times = SchedulerTimes()
        self._queue_delay = QueueDelay()
        self._is_closed = False
        # The loop's thread only:
        self._is_waking = False
        self._outcomes = dict.fromkeys(CALL_OUTCOMES, 0)
        self._deadlines = Deadlines(loop, clock, deadline_s, self._expire)
        self._stall_log = StallLog(loop, engine.model.name, deadline_s, lambda: self.making_progress)
        # Any thread, under the lock:
        self._lock = threading.Lock()
        self._delivery = Delivery(loop, self._lock, self._answer)
        self._n_running = 0

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on whose thread jobs are submitted and answered."""
        return self._loop

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of `deadline_s`: seconds since an arbitrary moment."""
        return self._clock

    def start(self) -> None:
        """Starts the engine's workers. Raises ConfigError when the engine cannot run its model."""
        self._engine.start(self)

    async def warm_up(self) -> float:
        """Warms the model up on another thread and returns the seconds that this took. Raises ModelLoadError when the
        model cannot be prepared.
        """
        return await run_in_thread(self._engine.warm_up, "voxgate-warm-up", _SUBSYSTEM)

    # --- for the routes ---

    def submit(self, job: Job) -> None:
        """Queues a job that was never submitted before. Calls `job.on_done` later, never before it returns.

        Raises Overloaded when a bound is reached, and InferenceError after `close`; the job is then not accepted.
        """
        job.submitted_s = now_s = self._clock()
        job.deadline_s = now_s + self._deadline_s
        self._queue_delay.on_submit(job)
        job.pending = True  # Before it is in the queue: a worker may take it at once.
        try:
            self._queue.put(job)
        except Exception:
            job.pending = False
            self._queue_delay.on_end(job)
            self._counts.refused += 1
            if self._is_closed:
                raise InferenceError(SHUTTING_DOWN) from None
            raise
        self._counts.submitted += 1
        self._deadlines.add(job)
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._wake_workers)
        pin = None if job.state is None else job.state.pin
        if pin is not None and pin.is_lost and self._queue.cancel(job):  # Otherwise `unpin` has found it.
            self._lose([job])

    def withdraw(self, job: Job) -> bool:
        """Takes `job` out of the queue: it neither runs nor is answered. False, without any effect, when it is not
        queued: then it runs or has run, and is answered as usual (or it was answered, cancelled or refused before).

        The queue alone decides, under its lock: a job that a worker has taken is never queued, even before the worker
        has noted this in the job.
        """
        if not self._queue.cancel(job):
            return False
        self._cancelled(job)
        return True

    def promote(self, job: Job) -> None:
        """The answer of a speculative job that runs is needed now: from here on it has the deadline of a final, and
        runs once more when its worker dies. Without effect on a job that was answered, cancelled or refused before.
        """
        if job.pending:
            job.speculative = False
            self._deadlines.discard(job)
            job.deadline_s = self._clock() + self._deadline_s
            self._deadlines.add(job)

    def cancel(self, job: Job) -> bool:
        """Gives up `job`: `on_done` will not be called. True when the model need not run it.

        A queued job leaves the queue at once; a running one ends if its engine can end it, and its outcome is dropped.
        Does nothing for a job that was answered, cancelled or refused before.
        """
        if self.withdraw(job):
            return True
        self._cancelled(job)
        _end_call(job)
        return False

    def drop(self, job: Job) -> None:
        """`job`, which runs, is no longer needed: its call ends early when its engine can end it. It is answered all
        the same.
        """
        job.dropped = True
        _end_call(job)

    def _wake_workers(self) -> None:
        """Once for all jobs of a turn of the loop: a worker that woke within it would wait for the GIL."""
        self._is_waking = False
        self._delivery.attend(self._queue.wake)

    def _cancelled(self, job: Job) -> None:
        if self._deadlines.discard(job):
            self._queue_delay.on_end(job)
        if job.pending:
            self._counts.cancelled += 1
            self._outcomes["cancelled"] += 1
            job.pending = False
        job.cancelled = True

    def close(self) -> None:
        """Accepts no more jobs and answers the queued ones with an InferenceError; running ones are still answered with
        their outcome. Returns at once; see `wait_closed`. A second call does nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._stall_log.stop()
        self._settle_now(self._queue.close(), lambda _: ShuttingDown())

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """After `close`: waits until running calls have returned and every job is answered, and closes the model.

        When calls still run after `timeout_s`, answers their jobs with an InferenceError and returns False.
        """
        if not self._is_closed:
            raise AssertionError("close() comes first")
        is_stopped = await run_in_thread(lambda: self._engine.stop(timeout_s), "voxgate-engine-stop", _SUBSYSTEM)
        self._settle_now(list(self._deadlines), lambda _: ShuttingDown())
        while self._delivery:
            self._delivery.run()
            await asyncio.sleep(0)
        self._deadlines.stop()
        return is_stopped

    # --- for the engine (JobSource) ---

    def take(
        self,
        limits: BatchLimits,
        arena: Arena | None = None,
        interrupt: Interrupt | None = None,
        pin: Pin | None = None,
    ) -> Work | None:
        while (taken := self._queue.take(limits, arena, interrupt, pin)) is not None:
            jobs, audio, lengths = taken
            # Until its next take, this thread works for these sessions, and its log lines carry their ids.
            logs.current.set(self._note_taken(jobs, self._clock()))
            if audio is None:
                error = InferenceError(f"{lengths.max() / self._rate:.1f} s of audio is too long for a worker")
                self.finish(jobs, [error] * len(jobs))
                continue
            try:
                self._queue.fill(jobs, audio)
            except Exception:
                logger.exception("a bug of ours: audio could not be brought to the model's rate")
                self.finish(jobs, [InternalError()] * len(jobs))
                continue
            batch = Batch.__new__(Batch)  # The queue returns arrays of the right form: they need no check.
            batch.audio, batch.lengths = audio, lengths
            batch.requests = list(map(_request_of, jobs))
            return Work(jobs, batch)
        return None

    def _note_taken(self, jobs: Sequence[Job], now_s: float) -> tuple[LogContext, ...]:
        times, n_jobs = self.times, len(jobs)
        contexts: list[LogContext] = []
        traced: list[object] = []
        with self._lock:
            self._n_running += n_jobs
            times.batch_size.observe(n_jobs)
            for job in jobs:
                job.taken_s = now_s
                if not job.settled:  # Its deadline may have passed just now.
                    job.queue_s = now_s - job.submitted_s
                job.batch_size = n_jobs
                job.attempts += 1
                times.wait_s(job).observe(job.queue_s)
                if job.context is not None:
                    contexts.append(job.context)
                if job.trace is not None:
                    traced.append(job.trace)
            self._queue_delay.on_take(jobs, now_s)
        if traced:
            batch = TracedBatch(traced, n_jobs)
            for job in jobs:
                job.batch = batch
        return tuple(contexts)

    def interrupt(self, interrupt: Interrupt) -> None:
        self._queue.interrupt(interrupt)

    def unpin(self, pin: Pin) -> None:
        pin.is_lost = True  # Before its jobs are looked for: `submit` looks here after it has queued one.
        self._lose(self._queue.unpin(pin))

    def partial(self, job: Job, output: Output) -> None:
        with self._lock:
            if job.on_partial is None or not job.is_needed:
                return
            is_new, job.partial = job.partial is None, output
            if is_new:
                self._delivery.add(job)
            is_ours = self._delivery.claim()
            self._counts.wake_ups += is_ours
        if is_ours:
            self._delivery.wake()

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[JobOutcome]) -> None:
        if len(jobs) != len(outcomes):
            raise AssertionError(f"{len(outcomes)} outcomes for {len(jobs)} jobs")
        now_s, audio_s = self._clock(), 0.0
        with self._lock:
            self._n_running -= len(jobs)
            self._queue_delay.on_return(jobs, now_s)
            for job, outcome in zip(jobs, outcomes, strict=True):
                audio_s += len(job.audio) / job.sample_rate
                if job.settled or not job.pending:  # Its deadline has passed, or it was cancelled.
                    continue
                job.run_s = now_s - job.taken_s
                if isinstance(outcome, VoxgateError):
                    job.error = outcome
                else:
                    job.result = outcome
                job.settled = True
                self._delivery.add(job)
            if jobs and jobs[0].taken_s:
                run_s = now_s - jobs[0].taken_s
                self.times.run_s.observe(run_s)
                if audio_s:
                    self.times.factor.observe(run_s / audio_s)
            is_ours = self._delivery.claim()
            self._counts.wake_ups += is_ours
        if is_ours:
            self._delivery.wake()

    def requeue(self, jobs: Sequence[Job]) -> None:
        lost: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            if job.state is not None:
                # A state that no worker has seen is not lost with one.
                job.state.lost = job.state.opened or job.state.pin is not None or job.attempts > 0
            keeps_state = job.state is not None and job.state.lost
            is_needed = job.final and not job.speculative and not keeps_state
            is_first_try = is_needed and job.attempts < _MAX_ATTEMPTS
            (again if is_first_try and job.pending and not job.settled else lost).append(job)
        with self._lock:
            self._n_running -= len(again)
            self._queue_delay.on_return(again, self._clock())
        for job in reversed(again):  # Each goes to the very front.
            job.taken_s = 0.0
            try:
                self._queue.put(job, front=True)
            except (RuntimeError, MemoryError):
                with self._lock:
                    self._n_running += 1
                lost.append(job)
                continue
            if not job.pending or job.settled:  # Cancelled, or expired, while it was neither queued nor running.
                self._queue.cancel(job)
        self.finish(lost, [ShuttingDown() if self._is_closed else WorkerDied() for _ in lost])

    # --- on the loop ---

    def _expire(self, late: list[Job], now_s: float) -> None:
        running = {job for job in late if not self._queue.cancel(job)}
        for job in running:
            self.drop(job)
        # A running interim is answered when it returns: no other interim of its channel may run before. The same holds
        # for speculative calls.
        late = [job for job in late if (job.final and not job.speculative) or job not in running]

        def timed_out(job: Job) -> InferenceError:
            if job.state is not None and job in running:
                job.state.lost = True  # The call may still use it.
            return TimedOut(self._deadline_s)

        n_expired = self._settle_now(late, timed_out)
        self._counts.expired += n_expired
        if n_expired:
            self._stall_log.expired(self._counts.expired, now_s)

    def _lose(self, jobs: Sequence[Job]) -> None:
        """Answers jobs whose state is lost. Any thread."""
        for job in jobs:
            assert job.state is not None
            job.state.lost = True
        self._settle(jobs, lambda _: WorkerDied(), self._delivery.wake)

    def _settle_now(self, jobs: Sequence[Job], error: Callable[[Job], VoxgateError]) -> int:
        """Answers those of `jobs` that have no outcome yet with an error, and returns their number. On the loop's
        thread.
        """
        return self._settle(jobs, error, self._delivery.schedule)

    def _settle(self, jobs: Sequence[Job], error: Callable[[Job], VoxgateError], deliver: Callable[[], None]) -> int:
        n_settled = 0
        now_s = self._clock()
        with self._lock:
            for job in jobs:
                if job.settled or not job.pending:
                    continue
                if job.taken_s:
                    job.run_s = now_s - job.taken_s
                else:
                    job.queue_s = now_s - job.submitted_s
                job.error = error(job)
                job.settled = True
                self._delivery.add(job)
                n_settled += 1
            is_ours = self._delivery.claim()
        if is_ours:
            deliver()
        return n_settled

    def _answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if not job.settled:
                self._deliver_partial(job)
                continue
            if self._deadlines.discard(job):
                self._queue_delay.on_end(job)
            if not job.pending:  # Cancelled after it finished, perhaps by the callback of a job before it.
                continue
            job.pending = False
            self._counts.answered += 1
            self._outcomes["ok" if job.error is None else call_outcome(job.error)] += 1
            try:
                job.on_done(job)
            except Exception:
                self._counts.callback_failures += 1
                logger.exception("a bug of ours: answering a job failed")

    def _deliver_partial(self, job: Job) -> None:
        with self._lock:
            output, job.partial = job.partial, None
        if output is None or job.on_partial is None or not job.is_needed:
            return
        try:
            job.on_partial(job, output)
        except Exception:
            self._counts.callback_failures += 1
            logger.exception("a bug of ours: delivering an interim result failed")

    # --- measurements ---

    def counts(self) -> SchedulerCounts:
        """A snapshot. Any thread."""
        with self._lock:
            return replace(self._counts)

    def outcomes(self) -> Mapping[str, int]:
        """The number of ended calls by outcome (CALL_OUTCOMES): together with `pending`, all calls that were accepted.
        On the loop's thread.
        """
        return self._outcomes

    @property
    def pending(self) -> int:
        """The number of accepted calls that are neither answered nor cancelled. On the loop's thread."""
        return len(self._deadlines)

    def depths(self) -> Mapping[str, int]:
        """The number of jobs that wait (``final``, ``speculative``, ``interim``) and that run (``running``). Any
        thread.
        """
        finals, speculative, interims = self._queue.depths()
        return {"final": finals, "speculative": speculative, "interim": interims, "running": self._n_running}

    @property
    def queued_s(self) -> float:
        """Seconds of queued audio. Any thread."""
        return self._queue.queued_s

    @property
    def queue_wait_s(self) -> float:
        """Seconds that the model keeps a stream waiting at present, without interims (see QueueDelay). On the loop's
        thread.
        """
        now_s = self._clock()
        wait_s = self._queue_delay.cached(now_s)
        if wait_s is None:
            with self._lock:
                recent = self._queue_delay.recent()
            wait_s = self._queue_delay.measure(recent, self._deadlines, now_s)
        return wait_s

    @property
    def making_progress(self) -> bool:
        """False when there is no worker, or when every worker has been in its call for longer than `deadline_s`. Any
        thread.
        """
        return self._engine.ready and self._engine.stalled_s < self._deadline_s


def _end_call(job: Job) -> None:
    on_cancel = job.on_cancel  # The engine may set it to None at any time.
    if on_cancel is not None:
        on_cancel()
