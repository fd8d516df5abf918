"""Which job runs next, and how its result comes back to the event loop.

Between the loop's thread and the workers lie one compiled queue and one heap of finished jobs. The loop submits and
never waits; workers wait in :meth:`Scheduler.take`, without the GIL, until the queue has a batch for them; what they
hand back is delivered on the loop's thread by one wake-up, however many batches finish before the loop gets round to
it.

Who is next is decided by the queue (:class:`voxgate._native.batch.BatchQueue`): finals before interims, and in each
lane the stream that was served least. How long a job may take in all is decided here, with one timer for the nearest
deadline.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from voxgate._native.batch import BatchQueue, Interrupt
from voxgate.audio.soxr import resample
from voxgate.errors import ConfigError, InferenceError, InternalError, Overloaded, VoxgateError
from voxgate.inference.engine.base import Arena, Batched, BatchLimits, Engine, Job, Outcome, Work
from voxgate.inference.queue_delay import QueueDelay
from voxgate.models.base import Batch
from voxgate.runtime import logs
from voxgate.runtime.histogram import BATCH_SIZES, FACTORS, LATENCIES_S, STAGES_S, Histogram
from voxgate.runtime.tasks import run_in_thread
from voxgate.runtime.throttle import Throttle

__all__ = ["OUTCOMES", "Scheduler", "SchedulerCounts", "SchedulerTimes"]

logger = logging.getLogger("voxgate.inference.scheduler")

_SUBSYSTEM = "scheduler"

_DELIVERIES_PER_TURN = 64
"""Jobs answered in one turn of the loop; each costs some tens of microseconds, and a turn should stay below about 2
ms."""

_MAX_ATTEMPTS = 2
"""How often a final is given to a worker when the worker dies."""

_TIMER_GRAIN_S = 0.002
"""Loops round their timers, some of them down: what is this near is due."""

_REPORT_EVERY_S = 60
"""A model that hangs does so for every stream: its log lines are this far apart."""

_STUCK_CHECK_S = 1.0
"""After a call's time was up: a worker that is in the same call even then is taken for stuck."""

_SHUTTING_DOWN = "The server is shutting down"
_WORKER_DIED = "The worker that ran the model died"
_INTERNAL = "Internal server error"


OUTCOMES: Final = ("ok", "refused", "failed", "timeout", "died", "shutdown", "cancelled")
"""What can become of a call."""


class _Unanswered(InferenceError):
    """An error of the scheduler's, not the model's."""

    outcome: ClassVar[str]


class _TimedOut(_Unanswered):
    outcome = "timeout"


class _Died(_Unanswered):
    outcome = "died"

    def __init__(self) -> None:
        super().__init__(_WORKER_DIED)


class _ShuttingDown(_Unanswered):
    outcome = "shutdown"

    def __init__(self) -> None:
        super().__init__(_SHUTTING_DOWN)


@dataclass(slots=True)
class SchedulerCounts:
    """What happened since the scheduler was made. All only ever grow."""

    submitted: int = 0
    refused: int = 0
    """Submits that raised."""
    cancelled: int = 0
    """Jobs cancelled before they were answered, queued or running."""
    answered: int = 0
    """Jobs whose `on_done` was called."""
    wake_ups: int = 0
    """Times a worker woke the event loop."""
    expired: int = 0
    """Jobs answered with an error because their time was up, queued or running."""
    callback_failures: int = 0
    """Times an `on_done` raised: a bug of ours."""


class SchedulerTimes:
    """Observed once per call that a worker took, or once per batch; by any thread, under the scheduler's lock."""

    __slots__ = ("batch_size", "factor", "final_wait_s", "interim_wait_s", "run_s")

    def __init__(self) -> None:
        self.final_wait_s = Histogram(LATENCIES_S)
        self.interim_wait_s = Histogram(LATENCIES_S)
        self.batch_size = Histogram(BATCH_SIZES)
        self.run_s = Histogram(STAGES_S)
        """Of a batch, from when a worker took it."""
        self.factor = Histogram(FACTORS)
        """Of a batch: seconds it ran per second of audio in it, padding aside."""


class Scheduler:
    """Takes jobs on the loop's thread, lets an engine's workers have them, and answers each on the loop's thread.

    ``submit``, ``withdraw``, ``cancel`` and ``close`` belong to the loop's thread; ``take``, ``finish`` and ``requeue``
    are the engine's side and may be called by any thread; the counters may be read by any. Every accepted job is
    answered exactly once, with a result or an error, unless it is withdrawn or cancelled: then never.
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
        """Bounds of what may be queued, over all streams and of one: jobs, and seconds of audio (four bytes a sample at
        the model's rate). A bound in seconds always lets a single job through. `deadline_s`: how long a job may be
        queued and run in all. ConfigError for jobs below 1, or anything else that is not above 0.

        `clock` gives seconds, and is read once at each of submit, take and finish.
        """
        for name, bound in (("max_jobs", max_jobs), ("stream_jobs", stream_jobs)):
            if bound < 1:
                raise ConfigError(f"inference.{name} must be at least 1, not {bound}")
        for name, limit in (
            ("max_seconds", max_seconds),
            ("stream_seconds", stream_seconds),
            ("deadline_s", deadline_s),
        ):
            if not 0 < limit < math.inf:
                raise ConfigError(f"inference.{name} must be above 0, not {limit}")
        self._engine = engine
        self._loop = loop
        self._clock = clock
        self._deadline_s = deadline_s
        self._rate = rate = engine.model.sample_rate
        self._queue: BatchQueue[Job] = BatchQueue(
            max_jobs, math.ceil(max_seconds * rate), stream_jobs, math.ceil(stream_seconds * rate)
        )
        self._bounds = f"{max_jobs} calls or {max_seconds:g} s of audio"
        self._stream_bounds = f"{stream_jobs} calls or {stream_seconds:g} s of audio"
        self._counts = SchedulerCounts()
        self.times = SchedulerTimes()
        self._queue_delay = QueueDelay()
        self._closed = False
        # The loop's thread alone:
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._accepted: OrderedDict[Job, None] = (
            OrderedDict()
        )  # owed, oldest first; the nearest deadline is the first's
        self._timer: asyncio.TimerHandle | None = None
        self._expiries = Throttle(_REPORT_EVERY_S)
        self._stuck = False
        # Everybody's, under the lock:
        self._lock = threading.Lock()
        self._finished: deque[Job] = deque()
        self._wake_up_pending = False
        self._n_running = 0

    @property
    def engine(self) -> Engine:
        return self._engine

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """On whose thread jobs are submitted and answered."""
        return self._loop

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds, from any beginning: what `deadline_s` is measured by."""
        return self._clock

    def start(self) -> None:
        """Brings the engine's workers up. Raises ConfigError when the engine cannot run its model."""
        self._engine.start(self)

    async def warm_up(self) -> float:
        """Warms the model up off the loop and returns the seconds this took. Raises ModelLoadError when it cannot be
        made ready.
        """
        return await run_in_thread(self._engine.warm_up, "voxgate-warm-up", _SUBSYSTEM)

    # --- the loop's side ---

    def submit(self, job: Job) -> None:
        """Queues a job that was never submitted before; `job.on_done` is called later, never from here.

        Raises Overloaded when a bound is reached, and InferenceError after `close`; the job is then not accepted.
        """
        job.submitted_s = now_s = self._clock()
        job.deadline_s = now_s + self._deadline_s
        self._queue_delay.accepted(job)
        job.owed = True  # Before it is there: a worker may take it at once.
        try:
            if job.sample_rate == self._rate:
                self._queue.put(job, job.audio, job.stream, job.final, -1, job.state is not None)
            else:
                n_samples = _resampled_samples(len(job.audio), job.sample_rate, self._rate)
                self._queue.put(job, None, job.stream, job.final, n_samples, job.state is not None)
        except Exception as error:
            job.owed = False
            self._queue_delay.over(job)
            self._counts.refused += 1
            if self._closed:
                raise InferenceError(_SHUTTING_DOWN) from None
            if isinstance(error, BufferError):
                raise Overloaded(
                    f"The server is overloaded: {self._stream_bounds} of this stream or {self._bounds} of all wait for"
                    " the model"
                ) from error
            raise
        self._counts.submitted += 1
        self._accepted[job] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline_s, self._check_deadlines)

    def withdraw(self, job: Job) -> bool:
        """Takes `job` back if it is still queued: it will neither run nor be answered. False, and nothing changes, when
        it is not: then it runs, or has run, and is answered as ever (or it was answered, cancelled or refused before).

        The queue alone decides, under its lock: a job that a worker has taken is never queued, whatever the worker has
        noted about it so far.
        """
        if not self._queue.cancel(job):
            return False
        self._cancelled(job)
        return True

    def cancel(self, job: Job) -> bool:
        """Nobody waits for `job` any more: `on_done` will not be called. Returns True when the model was spared the
        call.

        A queued job leaves the queue at once; a running one runs on and its outcome is dropped. Harmless for a job
        that has been answered, cancelled or refused already.
        """
        if self.withdraw(job):
            return True
        self._cancelled(job)
        return False

    def _cancelled(self, job: Job) -> None:
        self._forget(job)
        if job.owed:
            self._counts.cancelled += 1
            self._outcomes["cancelled"] += 1
            job.owed = False
        job.cancelled = True

    def _forget(self, job: Job) -> None:
        if self._accepted.pop(job, job) is None:  # it was there
            self._queue_delay.over(job)

    def close(self) -> None:
        """Takes no more jobs and answers those which are queued with an InferenceError; running ones are still
        answered with what comes of them. Returns at once; see `wait_closed`. Closing twice is harmless.
        """
        if self._closed:
            return
        self._closed = True
        self._settle_now(self._queue.close(), lambda _: _ShuttingDown())

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """After `close`: waits until running calls have ended and every job has been answered, and closes the model.

        When calls still run after `timeout_s`, their jobs are answered with an InferenceError and False is returned.
        """
        if not self._closed:
            raise AssertionError("close() comes first")
        stopped = await run_in_thread(lambda: self._engine.stop(timeout_s), "voxgate-engine-stop", _SUBSYSTEM)
        self._settle_now(list(self._accepted), lambda _: _ShuttingDown())
        while self._finished:
            self._deliver()
            await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return stopped

    # --- the engine's side (JobSource) ---

    def take(self, limits: BatchLimits, arena: Arena | None = None, interrupt: Interrupt | None = None) -> Work | None:
        max_samples = 0 if limits.max_seconds == math.inf else max(1, int(limits.max_seconds * self._rate))
        while (taken := self._queue.take(limits.max_items, max_samples, limits.window_s, arena, interrupt)) is not None:
            jobs, audio, lengths = taken
            now_s = self._clock()
            times = self.times
            with self._lock:
                self._n_running += len(jobs)
                times.batch_size.observe(len(jobs))
                for job in jobs:
                    job.taken_s = now_s
                    if not job.settled:  # Its time may have been up just now.
                        job.queue_s = now_s - job.submitted_s
                    job.batch_size = len(jobs)
                    job.attempts += 1
                    (times.final_wait_s if job.final else times.interim_wait_s).observe(job.queue_s)
                self._queue_delay.taken(jobs, now_s)
            traced = [job.trace for job in jobs if job.trace is not None]
            if traced:
                batched = Batched(traced, len(jobs))
                for job in jobs:
                    job.batch = batched
            # Until its next take, this thread works for these sessions; its log lines say so.
            logs.current.set(tuple(job.context for job in jobs if job.context is not None))
            if audio is None:
                error = InferenceError(f"{lengths.max() / self._rate:.1f} s of audio is too long for a worker")
                self.finish(jobs, [error] * len(jobs))
                continue
            try:
                for row, job in zip(audio, jobs, strict=True):
                    if job.sample_rate != self._rate:
                        resampled = resample(job.audio, job.sample_rate, self._rate)
                        row[: len(resampled)] = resampled
            except Exception:
                logger.exception("a bug of ours: audio could not be brought to the model's rate")
                self.finish(jobs, [InternalError(_INTERNAL)] * len(jobs))
                continue
            batch = Batch.__new__(Batch)  # What came from the queue has the right form.
            batch.audio, batch.lengths = audio, lengths
            return Work(jobs, batch)
        return None

    def interrupt(self, interrupt: Interrupt) -> None:
        self._queue.interrupt(interrupt)

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        if len(jobs) != len(outcomes):
            raise AssertionError(f"{len(outcomes)} outcomes for {len(jobs)} jobs")
        now_s = self._clock()
        audio_s = sum(len(job.audio) / job.sample_rate for job in jobs)
        with self._lock:
            self._n_running -= len(jobs)
            if jobs and jobs[0].taken_s:
                run_s = now_s - jobs[0].taken_s
                self.times.run_s.observe(run_s)
                if audio_s:
                    self.times.factor.observe(run_s / audio_s)
            self._queue_delay.returned(jobs, now_s)
            for job, outcome in zip(jobs, outcomes, strict=True):
                if job.settled or not job.owed:  # Its time was up, or nobody waits for it.
                    continue
                job.run_s = now_s - job.taken_s
                if isinstance(outcome, VoxgateError):
                    job.error = outcome
                else:
                    job.result = outcome
                job.settled = True
                self._finished.append(job)
            wake_up = self._claim_wake_up()
            self._counts.wake_ups += wake_up
        if wake_up:
            self._post_wake_up()

    def requeue(self, jobs: Sequence[Job]) -> None:
        lost: list[Job] = []
        again: list[Job] = []
        for job in jobs:
            if job.state is not None:
                job.state.lost = True
            first_try = job.final and job.state is None and job.attempts < _MAX_ATTEMPTS
            (again if first_try and job.owed and not job.settled else lost).append(job)
        with self._lock:
            self._n_running -= len(again)
            self._queue_delay.returned(again, self._clock())
        for job in reversed(again):  # Each goes to the very front.
            job.taken_s = 0.0
            try:
                if job.sample_rate == self._rate:
                    self._queue.put(job, job.audio, job.stream, job.final, -1, False, True)
                else:
                    n_samples = _resampled_samples(len(job.audio), job.sample_rate, self._rate)
                    self._queue.put(job, None, job.stream, job.final, n_samples, False, True)
            except (RuntimeError, MemoryError):
                with self._lock:
                    self._n_running += 1
                lost.append(job)
                continue
            if not job.owed or job.settled:  # Cancelled, or its time was up, while it was in nobody's hands.
                self._queue.cancel(job)
        self.finish(lost, [_ShuttingDown() if self._closed else _Died() for _ in lost])

    # --- the time a job may take ---

    def _check_deadlines(self) -> None:
        self._timer = None
        now_s = self._clock()
        late: list[Job] = []
        for job in self._accepted:
            if job.deadline_s > now_s + _TIMER_GRAIN_S:
                self._timer = self._loop.call_later(job.deadline_s - now_s, self._check_deadlines)
                break
            late.append(job)
        running = {job for job in late if not self._queue.cancel(job)}
        # An interim that runs is over when it returns, for no other of its channel may run before. Nobody waits for it.
        late = [job for job in late if job.final or job not in running]

        def expired(job: Job) -> InferenceError:
            if job.state is not None and job in running:
                job.state.lost = True  # The call may still be in there.
            return _TimedOut(f"The model gave no answer within {self._deadline_s:g} s")

        n_expired = self._settle_now(late, expired)
        self._counts.expired += n_expired
        if n_expired:
            self._report_expired(now_s)

    def _report_expired(self, now_s: float) -> None:
        if self._expiries.admit(now_s=now_s) is not None:
            logger.warning(
                "model %r gave no answer within %g s (inference.deadline_s): %d calls so far",
                *(self._engine.model.name, self._deadline_s, self._counts.expired),
            )
        if not self._stuck:
            self._loop.call_later(_STUCK_CHECK_S, self._report_stuck)

    def _report_stuck(self) -> None:
        """Said once each time it begins: from here on the server is not ready."""
        was_stuck, self._stuck = self._stuck, not self.making_progress
        if self._stuck and not was_stuck and not self._closed:
            logger.error(
                "no worker makes progress: every call of model %r has run for longer than it may, and a thread cannot "
                'be ended; no new streams are taken in (inference.isolation = "process" ends such calls)',
                self._engine.model.name,
            )

    def _settle_now(self, jobs: Sequence[Job], error: Callable[[Job], VoxgateError]) -> int:
        """From the loop's thread: those of `jobs` of which nothing has come so far are answered with an error. Returns
        how many.
        """
        n_settled = 0
        now_s = self._clock()
        with self._lock:
            for job in jobs:
                if job.settled or not job.owed:
                    continue
                if job.taken_s:
                    job.run_s = now_s - job.taken_s
                else:
                    job.queue_s = now_s - job.submitted_s
                job.error = error(job)
                job.settled = True
                self._finished.append(job)
                n_settled += 1
            wake_up = self._claim_wake_up()
        if wake_up:
            self._loop.call_soon(self._deliver)
        return n_settled

    # --- back on the loop ---

    def _claim_wake_up(self) -> bool:
        """Whether the caller, holding the lock, has to see to it that `_deliver` runs: something waits and nobody
        else has.
        """
        if self._wake_up_pending or not self._finished:
            return False
        self._wake_up_pending = True
        return True

    def _post_wake_up(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            logger.debug("results came after the event loop was closed")

    def _deliver(self) -> None:
        with self._lock:
            n_jobs = min(len(self._finished), _DELIVERIES_PER_TURN)
            jobs = [self._finished.popleft() for _ in range(n_jobs)]
            self._wake_up_pending = bool(self._finished)
            again = self._wake_up_pending
        if again:
            self._loop.call_soon(self._deliver)
        for job in jobs:
            self._forget(job)
            if not job.owed:  # Cancelled by the callback of a job before it, or while it lay finished.
                continue
            job.owed = False
            self._counts.answered += 1
            self._outcomes[_outcome_of(job.error)] += 1
            try:
                job.on_done(job)
            except Exception:
                self._counts.callback_failures += 1
                logger.exception("a bug of ours: answering a job failed")

    # --- what can be measured ---

    def counts(self) -> SchedulerCounts:
        """A snapshot; any thread may ask for it."""
        with self._lock:
            return replace(self._counts)

    def outcomes(self) -> Mapping[str, int]:
        """How many calls are over, by what became of them (OUTCOMES): with those that are `owed` they are all that
        were accepted. On the loop's thread.
        """
        return self._outcomes

    @property
    def owed(self) -> int:
        """How many accepted calls are neither answered nor cancelled. On the loop's thread."""
        return len(self._accepted)

    def depths(self) -> Mapping[str, int]:
        """How many jobs wait (``final``, ``interim``) and how many run (``running``) at this moment; any thread may
        ask.
        """
        finals, interims, _ = self._queue.depths()
        return {"final": finals, "interim": interims, "running": self._n_running}

    @property
    def queued_s(self) -> float:
        """Seconds of audio that wait; any thread may ask."""
        return self._queue.depths()[2] / self._rate

    @property
    def queue_wait_s(self) -> float:
        """Seconds that the model keeps a stream waiting at the moment, interims aside (see QueueDelay). On the loop's
        thread.
        """
        now_s = self._clock()
        wait_s = self._queue_delay.known(now_s)
        if wait_s is None:
            with self._lock:
                recent = self._queue_delay.recent()
            wait_s = self._queue_delay.measure(recent, self._accepted, now_s)
        return wait_s

    @property
    def making_progress(self) -> bool:
        """False when there is no worker, or when every one of them has been in its call for longer than a job may take
        in all; any thread may ask.
        """
        return self._engine.ready and self._engine.stalled_s < self._deadline_s


def _outcome_of(error: VoxgateError | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, _Unanswered):
        return error.outcome
    return "refused" if isinstance(error, InferenceError) else "failed"


def _resampled_samples(n_samples: int, from_hz: int, to_hz: int) -> int:
    """What `resample` makes of them: rounded half up."""
    return (2 * n_samples * to_hz + from_hz) // (2 * from_hz)
