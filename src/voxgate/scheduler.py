"""Which job runs next, and how its result comes back to the event loop.

Between the loop's thread and the workers lie one lock, two lanes and one heap of finished jobs. The loop submits and
never waits; workers wait in :meth:`Scheduler.take`; what they hand back is delivered on the loop's thread by one
wake-up, however many batches finish before the loop gets round to it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from voxgate.engine.base import Engine, Job, Outcome
from voxgate.errors import ConfigError, InferenceError, Overloaded, VoxgateError
from voxgate.tasks import run_in_thread

__all__ = ["Scheduler", "SchedulerCounts"]

logger = logging.getLogger("voxgate.scheduler")

_SUBSYSTEM = "scheduler"

_DELIVERIES_PER_TURN = 64
"""Jobs answered in one turn of the loop; each costs some tens of microseconds, and a turn should stay below about 2
ms."""

_SHUTTING_DOWN = "The server is shutting down"


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
    callback_failures: int = 0
    """Times an `on_done` raised: a bug of ours."""


class Lanes:
    """The queued jobs: finals before interims, first come first served within each; any job can be taken out. Not
    thread-safe.
    """

    __slots__ = ("_finals", "_interims")

    def __init__(self) -> None:
        self._finals: OrderedDict[Job, None] = OrderedDict()
        self._interims: OrderedDict[Job, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._finals) + len(self._interims)

    def push(self, job: Job) -> None:
        (self._finals if job.final else self._interims)[job] = None

    def pop(self) -> Job:
        """The job that runs next; KeyError when there is none."""
        return (self._finals or self._interims).popitem(last=False)[0]

    def remove(self, job: Job) -> bool:
        """Whether `job` was there."""
        lane = self._finals if job.final else self._interims
        if job not in lane:
            return False
        del lane[job]
        return True

    def depths(self) -> tuple[int, int]:
        """How many finals and how many interims wait."""
        return len(self._finals), len(self._interims)

    def drain(self) -> Iterator[Job]:
        while self:
            yield self.pop()


class Scheduler:
    """Takes jobs on the loop's thread, lets an engine's workers have them, and answers each on the loop's thread.

    ``submit``, ``cancel`` and ``close`` belong to the loop's thread; ``take`` and ``finish`` are the engine's side
    and may be called by any thread; the counters may be read by any. Every accepted job is answered exactly once,
    with a result or an error, unless it is cancelled: then never.
    """

    def __init__(
        self,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        max_jobs: int = 4096,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """max_jobs: how many jobs may be queued (running ones are not counted), at least 1; ConfigError otherwise.
        `clock` gives seconds, and is read once at each of submit, take and finish.
        """
        if max_jobs < 1:
            raise ConfigError(f"max_jobs must be at least 1, not {max_jobs}")
        self._engine = engine
        self._loop = loop
        self._max_jobs = max_jobs
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())  # Guards everything below.
        self._lanes = Lanes()
        self._running: set[Job] = set()
        self._finished: deque[Job] = deque()
        self._wake_up_pending = False
        self._closed = False
        self._counts = SchedulerCounts()

    @property
    def engine(self) -> Engine:
        return self._engine

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

        Raises Overloaded when `max_jobs` are queued, and InferenceError after `close`; the job is then not accepted.
        """
        job.submitted_s = self._clock()
        with self._changed:
            if self._closed:
                self._counts.refused += 1
                raise InferenceError(_SHUTTING_DOWN)
            if len(self._lanes) >= self._max_jobs:
                self._counts.refused += 1
                raise Overloaded(f"The server is overloaded: {self._max_jobs} jobs wait for the model")
            self._counts.submitted += 1
            job.owed = True
            self._lanes.push(job)
            self._changed.notify()

    def cancel(self, job: Job) -> bool:
        """Nobody waits for `job` any more: `on_done` will not be called. Returns True when the model was spared the
        call.

        A queued job leaves the queue at once; a running one runs on and its outcome is dropped. Harmless for a job
        that has been answered, cancelled or refused already.
        """
        with self._changed:
            queued = self._lanes.remove(job)
            self._counts.cancelled += job.owed
            job.owed = False
            job.cancelled = True
        return queued

    def close(self) -> None:
        """Takes no more jobs and answers those which are queued with an InferenceError; running ones are still
        answered with what comes of them. Returns at once; see `wait_closed`. Closing twice is harmless.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            now_s = self._clock()
            for job in self._lanes.drain():
                job.queue_s = now_s - job.submitted_s
                job.error = InferenceError(_SHUTTING_DOWN)
                self._finished.append(job)
            self._changed.notify_all()
            wake_up = self._claim_wake_up()
        if wake_up:
            self._loop.call_soon(self._deliver)

    async def wait_closed(self, timeout_s: float | None = None) -> bool:
        """After `close`: waits until running calls have ended and every job has been answered, and closes the model.

        When calls still run after `timeout_s`, their jobs are answered with an InferenceError and False is returned.
        """
        if not self._closed:
            raise AssertionError("close() comes first")
        stopped = await run_in_thread(lambda: self._engine.stop(timeout_s), "voxgate-engine-stop", _SUBSYSTEM)
        with self._changed:
            for job in self._running:
                job.error = InferenceError(_SHUTTING_DOWN)
                self._finished.append(job)
            self._running.clear()
        while self._finished:
            self._deliver()
            await asyncio.sleep(0)
        return stopped

    # --- the engine's side (JobSource) ---

    def take(self, max_jobs: int) -> list[Job]:
        with self._changed:
            while not self._lanes:
                if self._closed:
                    return []
                self._changed.wait()
            jobs = [self._lanes.pop() for _ in range(min(max_jobs, len(self._lanes)))]
            self._running.update(jobs)
        now_s = self._clock()
        for job in jobs:
            job.taken_s = now_s
            job.queue_s = now_s - job.submitted_s
            job.batch_size = len(jobs)
        return jobs

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        if len(jobs) != len(outcomes):
            raise AssertionError(f"{len(outcomes)} outcomes for {len(jobs)} jobs")
        now_s = self._clock()
        with self._changed:
            for job, outcome in zip(jobs, outcomes, strict=True):
                if job not in self._running:  # Answered in the meantime, because its time was up.
                    continue
                self._running.discard(job)
                if job.cancelled:
                    continue
                job.run_s = now_s - job.taken_s
                if isinstance(outcome, VoxgateError):
                    job.error = outcome
                else:
                    job.result = outcome
                self._finished.append(job)
            wake_up = self._claim_wake_up()
            self._counts.wake_ups += wake_up
        if not wake_up:
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            logger.debug("results came after the event loop was closed")

    # --- back on the loop ---

    def _claim_wake_up(self) -> bool:
        """Whether the caller, holding the lock, has to see to it that `_deliver` runs: something waits and nobody
        else has.
        """
        if self._wake_up_pending or not self._finished:
            return False
        self._wake_up_pending = True
        return True

    def _deliver(self) -> None:
        with self._changed:
            n_jobs = min(len(self._finished), _DELIVERIES_PER_TURN)
            jobs = [self._finished.popleft() for _ in range(n_jobs)]
            self._wake_up_pending = bool(self._finished)
            again = self._wake_up_pending
        if again:
            self._loop.call_soon(self._deliver)
        for job in jobs:
            if not job.owed:  # Cancelled by the callback of a job before it, or while it lay finished.
                continue
            job.owed = False
            self._counts.answered += 1
            try:
                job.on_done(job)
            except Exception:
                self._counts.callback_failures += 1
                logger.exception("a bug of ours: answering a job failed")

    # --- what can be measured ---

    def counts(self) -> SchedulerCounts:
        """A snapshot; any thread may ask for it."""
        with self._changed:
            return replace(self._counts)

    def depths(self) -> Mapping[str, int]:
        """How many jobs wait (``final``, ``interim``) and how many run (``running``) at this moment; any thread may
        ask.
        """
        with self._changed:
            finals, interims = self._lanes.depths()
            return {"final": finals, "interim": interims, "running": len(self._running)}
