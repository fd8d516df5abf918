"""One place for a worker process in the engine: starts a process, gives it batches, and replaces it when it ends."""

from __future__ import annotations

import logging
import threading
from typing import Literal, TypeAlias

from voxgate._native.batch import Interrupt
from voxgate.errors import InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.attempts import call_timeout_s, isolate_retries, return_unrun
from voxgate.inference.engine.base import BatchLimits, Job, JobSource
from voxgate.inference.engine.processes.calls import ProcessCalls
from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.messages import Answer, Loaded, Run, Trial, Warm
from voxgate.inference.engine.processes.outcomes import decode_outcome
from voxgate.inference.engine.processes.pool import Pool
from voxgate.inference.engine.processes.process import ModelRefused, WorkerProcess
from voxgate.inference.engine.processes.settings import ProcessSettings
from voxgate.inference.engine.trial import judge_trial, text_in, trial_sizes
from voxgate.models.base import Model
from voxgate.runtime.backoff import Backoff
from voxgate.runtime.tasks import spawn_thread

__all__ = ["WorkerSlot"]

logger = logging.getLogger("voxgate.inference.engine")

_SUBSYSTEM = "engine"
_MAX_BACKOFF = 100.0
"""The longest backoff, as a multiple of the first."""
_BROKEN_ENDS = 3
"""After so many processes in a row ended without an answer, the slot counts as broken."""

SlotState: TypeAlias = Literal["starting", "idle", "busy", "waiting", "gone"]


class WorkerSlot:
    """Runs one worker process at a time on a thread of its own.

    The thread that starts a process lives as long as the process: the kernel's parent-death signal is bound to that
    thread.
    """

    def __init__(self, settings: ProcessSettings, pool: Pool, index: int) -> None:
        """`index`: its number, for logs. It starts nothing."""
        self._settings = settings
        self._pool = pool
        self._index = index
        first_s = settings.restart_backoff_s
        self._backoff = Backoff(first_s, first_s * _MAX_BACKOFF)
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone
        # Guarded by the pool's lock:
        self._process: WorkerProcess | None = None
        self._state: SlotState = "starting"
        self.busy_since_s: float | None = pool.clock()
        """On the pool's clock; None while the slot waits for work."""
        self.last_failure = ""
        """Why its last process ended."""
        self.is_refused = False
        """Whether that process ended because the model refused to start."""

    def start(self) -> None:
        self._thread = spawn_thread(self._run, f"voxgate-worker-{self._index}", daemon=True, subsystem=_SUBSYSTEM)

    # --- any thread ---

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_gone(self) -> bool:
        """Its thread has ended, or is about to: no process follows."""
        return self._state == "gone"

    @property
    def is_serving(self) -> bool:
        return self._state in ("idle", "busy")

    @property
    def is_fresh(self) -> bool:
        """Its first process is starting."""
        return self._state == "starting" and not self.last_failure

    @property
    def is_broken(self) -> bool:
        """Several processes in a row ended without an answer and none is serving now; or it is gone."""
        return self.is_gone or (not self.is_serving and self._backoff.in_a_row >= _BROKEN_ENDS)

    @property
    def pid(self) -> int:
        """Of its process; 0: it has none."""
        process = self._process
        return process.pid if process is not None else 0

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def join(self, timeout_s: float | None) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)

    # --- its own thread ---

    def _run(self) -> None:
        pool = self._pool
        try:
            while not self._run_process():
                if pool.source is None:  # The first process of all; load() raises its failure.
                    logger.debug("the first worker of model %r: %s", pool.name, self.last_failure)
                    return
                wait_s = self._backoff.next_s()
                self._enter("waiting")
                # The start of the server ends with this reason when all workers say so: once is enough.
                is_known = self.is_refused and not pool.has_served
                logger.log(
                    logging.DEBUG if is_known else logging.WARNING,
                    "worker %d of model %r: %s; starting another in %g s",
                    self._index, pool.name, self.last_failure, wait_s,
                )  # fmt: skip
                if pool.stopping.wait(wait_s):
                    return
                self._enter("starting")
                pool.add(restarts=1)
        finally:
            self._enter("gone")

    def _run_process(self) -> bool:
        """One worker process from its start to its end; True when no other should follow."""
        pool, settings = self._pool, self._settings
        try:
            process = WorkerProcess(
                settings.spec, settings.options, settings.environment(), self._interrupt, pool.clock
            )
        except (OSError, RuntimeError) as error:  # No more processes, files or threads.
            self._fail(f"a worker process cannot be started: {error}")
            return pool.stopping.is_set()
        with pool.changed:
            self._process = process
        try:
            source = self._prepare(process)
            if source is not None:
                self._serve(process, source)
            process.quit()
            return True
        except ModelRefused as error:
            self._fail(str(error), is_refused=True)
        except ChannelClosed:
            self._fail(process.exit_reason())
            pool.add(crashes=not pool.stopping.is_set())
        except TimeoutError:
            self._fail(f"the worker process (pid {process.pid}) was killed because it {process.activity} for too long")
            pool.add(kills=1)
        except Exception as error:
            logger.exception("a bug of ours: looking after a worker process failed")
            self._fail(f"looking after the worker process (pid {process.pid}) failed: {type(error).__name__}")
        finally:
            with pool.changed:
                self._process = None
            process.close()
        return pool.stopping.is_set()

    def _interrupt(self, died: Interrupt) -> None:
        """On the thread that watches a process which has ended."""
        source = self._pool.source
        if source is not None:
            source.interrupt(died)

    def _prepare(self, process: WorkerProcess) -> JobSource | None:
        """Loads the model and warms it up. The source of jobs; None when the engine stops before it has one."""
        pool, settings = self._pool, self._settings
        model = pool.describe(process.receive(Loaded, pool.clock() + settings.start_timeout_s))
        with pool.changed:
            pool.changed.wait_for(lambda: pool.source is not None or pool.stopping.is_set())
        if pool.stopping.is_set():
            return None
        process.prepare(settings.arena_bytes(model.sample_rate), settings.warm_up)
        process.receive(Warm, pool.clock() + settings.start_timeout_s)
        if settings.warm_up:
            for n_items in trial_sizes(model, settings.limits(model)):
                self._try(process, model, n_items)
        return pool.source

    def _try(self, process: WorkerProcess, model: Model, n_items: int) -> None:
        process.send(Trial(n_items), "ran a trial call")
        answer = process.receive(Answer, self._pool.clock() + self._settings.deadline_s)
        outcomes = [decode_outcome(sent) for sent in answer.outcomes]
        try:
            judge_trial(model.name, outcomes, answer.bad_results, self._settings.start_anyway)
        except ModelLoadError as error:
            raise ModelRefused(str(error)) from None
        self._pool.note_text(text_in(outcomes))

    def _serve(self, process: WorkerProcess, source: JobSource) -> None:
        """Runs batches until the source is closed. Returns all jobs to the source before it raises."""
        process.activity = "waited for work"
        model = self._pool.model
        assert model is not None
        limits = self._settings.limits(model)
        calls = ProcessCalls(process, source)
        try:
            self._take_and_call(process, source, limits, calls)
        finally:
            calls.close()

    def _take_and_call(
        self, process: WorkerProcess, source: JobSource, limits: BatchLimits, calls: ProcessCalls
    ) -> None:
        arena = process.arena
        while True:
            self._enter("idle")
            work = source.take(limits, arena.memory, process.died, calls.pin)
            if work is None:
                if process.died.is_set:
                    raise ChannelClosed("it died while it waited")
                return
            self._enter("busy")
            used_bytes = work.batch.audio.nbytes
            jobs = isolate_retries(source, work)
            run = Run(work.batch.lengths[: len(jobs)].tolist(), list(work.batch.requests[: len(jobs)]))
            del work
            self._call(process, source, calls, jobs, run)
            del jobs  # A slot that waits keeps no audio alive.
            arena.trim(used_bytes)

    def _call(self, process: WorkerProcess, source: JobSource, calls: ProcessCalls, jobs: list[Job], run: Run) -> None:
        if process.is_dead:  # It died while it waited: none of these jobs is to blame.
            return_unrun(source, jobs)
            raise ChannelClosed
        now_s = self._pool.clock()
        try:
            activity = f"ran {'a call' if len(jobs) == 1 else f'{len(jobs)} calls in a batch'}"
            answer = calls.run(jobs, run, activity, now_s + call_timeout_s(jobs, now_s))
        except TimeoutError:
            process.kill()
            if len(jobs) == 1:
                if jobs[0].state is not None:
                    jobs[0].state.lost = True
                whole_s = jobs[0].deadline_s - jobs[0].submitted_s
                source.finish(jobs, [InferenceError(f"The model gave no answer within {whole_s:g} s")])
            else:
                source.requeue(jobs)
            raise
        except BaseException:
            process.kill()
            source.requeue(jobs)
            raise
        process.activity = "waited for work"
        outcomes = [decode_outcome(sent) for sent in answer.outcomes]
        if len(outcomes) != len(jobs):
            logger.error("a bug of ours: a worker process answered %d calls with %d outcomes", len(jobs), len(outcomes))
            outcomes = [InternalError() for _ in jobs]
        with self._pool.changed:
            self._backoff.reset()
            self._pool.add_batch(outcomes, answer.retried)
        source.finish(jobs, outcomes)

    def _enter(self, state: SlotState) -> None:
        pool = self._pool
        with pool.changed:
            self._state = state
            if state == "idle":
                self.busy_since_s, self.is_refused, pool.has_served = None, False, True
            elif self.busy_since_s is None:
                self.busy_since_s = pool.clock()
            pool.changed.notify_all()

    def _fail(self, reason: str, is_refused: bool = False) -> None:
        with self._pool.changed:
            self.last_failure, self.is_refused = reason, is_refused
            self._pool.changed.notify_all()
