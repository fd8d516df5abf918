"""The engine of worker processes: for models that crash, hang or hold the GIL.

One thread of the server looks after each worker: it starts it, hands it one batch at a time, waits for the answer, the
death or the deadline without the GIL, and starts another when it is gone. What a worker takes down with it are the
calls it was running, and of these the finals are tried once more.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from voxgate._native.batch import Interrupt
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.arena import SAMPLE_BYTES, SharedArena
from voxgate.inference.engine.base import BatchLimits, EngineCounts, Job, JobSource, Work
from voxgate.inference.engine.channel import (
    Answer,
    Channel,
    ChannelClosed,
    Loaded,
    Message,
    Prepare,
    Quit,
    Record,
    Refused,
    Run,
    Trial,
    Warm,
)
from voxgate.inference.engine.trial import report_trial
from voxgate.inference.engine.worker import decode_outcome
from voxgate.models.base import Model, Samples
from voxgate.runtime.backoff import Backoff
from voxgate.runtime.python_process import open_pidfd, start_python
from voxgate.runtime.tasks import spawn_thread

__all__ = ["ProcessEngine", "RemoteModel", "patience_s"]

logger = logging.getLogger("voxgate.inference.engine")

_SUBSYSTEM = "engine"
_MAX_PROCESSES = 1024
_LONGEST_BACKOFF = 100.0
"""Times the first."""
_QUIT_TIMEOUT_S = 5.0
_TRIES = 3
"""Ends in a row, without an answer between them, after which a worker counts as one that does not work."""
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_INTERNAL = "Internal server error"
_SHUTTING_DOWN = "The server is shutting down"

_Expected = TypeVar("_Expected", Loaded, Warm, Answer)


class RemoteModel(Model):
    """Stands in the server for a model that lives in worker processes: its name and its wishes, and no weights."""

    def __init__(self, loaded: Loaded) -> None:
        self.name = loaded.name
        self.sample_rate = loaded.sample_rate
        self.threads = loaded.threads
        self.holds_gil = loaded.holds_gil
        self._batches = loaded.batches
        self._stateful = loaded.stateful

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        raise AssertionError("the model runs in worker processes, not here")

    @property
    def batches(self) -> bool:
        return self._batches

    @property
    def stateful(self) -> bool:
        return self._stateful


def patience_s(jobs: Sequence[Job], now_s: float) -> float:
    """How long a call of `jobs` may run until its worker is taken for hung and killed; infinite without deadlines.

    A lone job has until its deadline. But when most of its time went by in the queue, the model is not to blame: it
    has half of a whole deadline at least, so that a server which falls behind does not kill its own workers (the job
    itself is answered at its deadline all the same, by the scheduler). A batch has half of the time that is left, a
    quarter of a whole deadline at least: after it, each of its jobs can still be tried alone, and only the one which
    hangs is lost.
    """
    left_s = min(job.deadline_s for job in jobs) - now_s
    whole_s = min(job.deadline_s - job.submitted_s for job in jobs)
    if not math.isfinite(left_s):
        return math.inf
    return max(left_s, whole_s / 2) if len(jobs) == 1 else max(left_s / 2, whole_s / 4)


class ProcessEngine:
    """N worker processes, each with its own copy of the model, each running one batch at a time.

    The model is never loaded into the server's process. Construction starts nothing; `load` must come before `start`.
    """

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any] | None = None,
        processes: int = 0,
        max_batch_size: int = 16,
        max_batch_seconds: float = 120.0,
        batch_window_s: float = 0.0,
        longest_job_s: float = 300.0,
        deadline_s: float = 60.0,
        restart_backoff_s: float = 0.1,
        start_timeout_s: float = 600.0,
        warm_up: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """spec, options: as for `load_model`. processes: 1..1024; 0 = one per CPU this process may use. longest_job_s:
        the longest audio of one call, in seconds; longer ones are refused. deadline_s: for the trial calls of the
        warm-up. start_timeout_s: for loading, and again for warming up. clock: the scheduler's, in seconds.

        Raises ConfigError for numbers out of range.
        """
        if not 0 <= processes <= _MAX_PROCESSES:
            raise ConfigError(f"inference.processes must be within 0..{_MAX_PROCESSES}, not {processes}")
        if max_batch_size < 1:
            raise ConfigError(f"inference.max_batch_size must be at least 1, not {max_batch_size}")
        self.spec = spec
        self.options = dict(options or {})
        self.start_timeout_s = start_timeout_s
        self.deadline_s = deadline_s
        self.warm = warm_up
        self.backoff_s = restart_backoff_s
        self.clock = clock
        self._processes = processes
        self._max_batch_size = max_batch_size
        self._max_batch_seconds = max_batch_seconds
        self._batch_window_s = batch_window_s
        self._longest_job_s = longest_job_s
        self._model: RemoteModel | None = None
        self._workers: list[_Worker] = []
        self.source: JobSource | None = None
        self.totals = EngineCounts()
        self.changed = threading.Condition()
        """Guards the engine and the states of its workers; told of every change."""
        self.stopping = threading.Event()

    # --- what it is ---

    @property
    def model(self) -> Model:
        """What the first worker said of it. AssertionError before `load`."""
        if self._model is None:
            raise AssertionError("load() comes first")
        return self._model

    @property
    def kind(self) -> str:
        return "process"

    @property
    def concurrency(self) -> int:
        return self._processes or _usable_cpus()

    @property
    def limits(self) -> BatchLimits:
        max_items = self._max_batch_size if self.model.batches else 1
        return BatchLimits(max_items, self._max_batch_seconds, self._batch_window_s)

    @property
    def arena_bytes(self) -> int:
        longest_s = max(self._max_batch_seconds, self._longest_job_s)
        return (math.ceil(longest_s * self.model.sample_rate) + 1) * SAMPLE_BYTES

    # --- its life ---

    def load(self) -> Model:
        """Starts the first worker and returns the model's description when it has loaded it.

        Blocking, possibly for long. Raises ModelLoadError when the model cannot be loaded, and ConfigError for a model
        that cannot run in worker processes.
        """
        if self._workers:
            raise AssertionError("the engine was loaded twice")
        worker = _Worker(self, 0)
        self._workers.append(worker)
        worker.begin()
        with self.changed:
            self.changed.wait_for(lambda: self._model is not None or worker.state == "gone")
            model = self._model
        if model is None:
            raise ModelLoadError(worker.complaint)
        if model.stateful:
            self.stop(_QUIT_TIMEOUT_S)
            raise ConfigError(
                f"model {model.name!r} keeps state from call to call (it defines step), and state cannot live in worker"
                " processes, which come and go: expected inference.isolation = 'threads'"
            )
        return model

    def start(self, source: JobSource) -> None:
        """Starts the other workers, and lets all of them take work once they are warm."""
        if self.source is not None:
            raise AssertionError("the engine was started twice")
        n_workers = self.concurrency
        logger.info("model %r runs in %d worker processes", self.model.name, n_workers)
        more = [_Worker(self, index) for index in range(1, n_workers)]
        with self.changed:
            self.source = source
            self._workers += more
            self.changed.notify_all()
        for worker in more:
            worker.begin()

    def warm_up(self) -> float:
        """Waits until every worker is warm, or has failed to become so while another is.

        Raises ModelLoadError when the model says why it cannot be warmed up, or when no worker survives it.
        """
        started_s = time.perf_counter()

        def over() -> bool:
            workers = self._workers
            if self.stopping.is_set() or all(worker.broken or worker.refused for worker in workers):
                return True
            return any(worker.serving for worker in workers) and not any(worker.fresh for worker in workers)

        with self.changed:
            self.changed.wait_for(over)
            serving = any(worker.serving for worker in self._workers)
        if not serving:
            raise ModelLoadError(self._workers[0].complaint or _SHUTTING_DOWN)
        elapsed_s = time.perf_counter() - started_s
        logger.info("model %r is warm after %.2f s", self.model.name, elapsed_s)
        return elapsed_s

    def stop(self, timeout_s: float | None = None) -> bool:
        """As the seam says; workers that still run after the timeout are killed and their calls fail, so that no
        process is ever left behind.
        """
        with self.changed:
            self.stopping.set()
            self.changed.notify_all()
            unused = [worker for worker in self._workers if not worker.serving]
        for worker in unused:
            worker.kill()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        late = [worker for worker in self._workers if worker.alive]
        for worker in late:
            worker.kill()
        for worker in late:
            worker.join(_QUIT_TIMEOUT_S)
        if late:
            logger.warning("%d workers of model %r had not ended: killed them", len(late), self.name)
        return not late

    # --- how it is ---

    @property
    def name(self) -> str:
        """What logs call the model; before it is loaded, what the settings call it."""
        return self.spec if self._model is None else self._model.name

    @property
    def ready(self) -> bool:
        with self.changed:
            return any(worker.alive and (worker.serving or worker.fresh) for worker in self._workers)

    @property
    def stalled_s(self) -> float:
        now_s = self.clock()
        with self.changed:
            since = [worker.busy_since_s for worker in self._workers]
        return max(0.0, now_s - max((math.inf if busy_s is None else busy_s for busy_s in since), default=now_s))

    @property
    def pids(self) -> list[int]:
        """Of the worker processes that are there at this moment."""
        with self.changed:
            return [worker.pid for worker in self._workers if worker.pid]

    def counts(self) -> EngineCounts:
        with self.changed:
            return replace(self.totals)

    # --- for its workers ---

    @property
    def environment(self) -> dict[str, str]:
        """Ours, and where it says nothing about it, a fair share of the CPUs for each worker's numeric libraries: they
        would otherwise start a thread per CPU in every one of them.
        """
        share = str(max(1, _usable_cpus() // self.concurrency))
        return {**dict.fromkeys(_THREAD_COUNTS, share), **os.environ}

    def loaded(self, loaded: Loaded) -> None:
        """A worker has loaded the model; the first to say so describes it for all."""
        with self.changed:
            if self._model is None:
                self._model = RemoteModel(loaded)
                self.changed.notify_all()

    def count(self, **more: int) -> None:
        with self.changed:
            for name, n in more.items():
                setattr(self.totals, name, getattr(self.totals, name) + n)
            self.changed.notify_all()


_State = Literal["starting", "idle", "busy", "waiting", "gone"]


class _Worker:
    """One place for a worker process, and the thread that keeps it filled.

    The thread that starts a process lives as long as the process does: the kernel's parent-death signal is bound to
    it.
    """

    def __init__(self, engine: ProcessEngine, index: int) -> None:
        self._engine = engine
        self._index = index
        self._backoff = Backoff(engine.backoff_s, engine.backoff_s * _LONGEST_BACKOFF)
        self._process: _Process | None = None
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone
        # Guarded by the engine's lock:
        self.state: _State = "starting"
        self.busy_since_s: float | None = engine.clock()
        self.complaint = ""
        """What ended its last process."""
        self.refused = False
        """Whether it was the model itself that would not start."""

    def begin(self) -> None:
        self._thread = spawn_thread(self._run, f"voxgate-worker-{self._index}", daemon=True, subsystem=_SUBSYSTEM)

    # --- any thread ---

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def serving(self) -> bool:
        return self.state in ("idle", "busy")

    @property
    def fresh(self) -> bool:
        """On its way for the first time."""
        return self.state == "starting" and not self.complaint

    @property
    def broken(self) -> bool:
        """Has been of no use for several tries in a row, and is not serving now; or gone for good."""
        return self.state == "gone" or (not self.serving and self._backoff.in_a_row >= _TRIES)

    @property
    def pid(self) -> int:
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
        engine = self._engine
        try:
            while not self._live_once():
                if engine.source is None:  # The very first one: whoever waits in load() hears of it.
                    logger.debug("the first worker of model %r: %s", engine.name, self.complaint)
                    return
                wait_s = self._backoff.next_s()
                self._enter("waiting")
                logger.warning(
                    "worker %d of model %r: %s; starting another in %g s",
                    self._index, engine.name, self.complaint, wait_s,
                )  # fmt: skip
                if engine.stopping.wait(wait_s):
                    return
                self._enter("starting")
                engine.count(restarts=1)
        finally:
            self._enter("gone")

    def _live_once(self) -> bool:
        """One worker process from its start to its end; True when no other is wanted."""
        engine = self._engine
        try:
            process = _Process(engine)
        except (OSError, RuntimeError) as error:  # no room for a process, a file or a thread
            self._complain(f"a worker process cannot be started: {error}")
            return engine.stopping.is_set()
        with engine.changed:
            self._process = process
        try:
            if not self._prepare(process):
                return True
            self._serve(process)
            process.quit()
            return True
        except _Refusal as error:
            self._complain(str(error), refused=True)
        except ChannelClosed:
            self._complain(process.obituary())
            engine.count(crashes=not engine.stopping.is_set())
        except TimeoutError:
            self._complain(
                f"the worker process (pid {process.pid}) was killed because it {process.activity} for too long"
            )
            engine.count(kills=1)
        except Exception as error:
            logger.exception("a bug of ours: looking after a worker process failed")
            self._complain(f"looking after the worker process (pid {process.pid}) failed: {type(error).__name__}")
        finally:
            with engine.changed:
                self._process = None
            process.dispose()
        return engine.stopping.is_set()

    def _prepare(self, process: _Process) -> bool:
        """Loads the model and warms it up. False when the engine stops before there was work for it."""
        engine = self._engine
        until_s = engine.clock() + engine.start_timeout_s
        engine.loaded(process.wait_for(Loaded, until_s))
        with engine.changed:
            engine.changed.wait_for(lambda: engine.source is not None or engine.stopping.is_set())
        if engine.stopping.is_set():
            process.quit()
            return False
        process.prepare(engine.arena_bytes, engine.warm)
        process.wait_for(Warm, engine.clock() + engine.start_timeout_s)
        if engine.warm:
            for n_items in (1, 2) if engine.limits.max_items > 1 else (1,):
                self._try_out(process, n_items)
        return True

    def _try_out(self, process: _Process, n_items: int) -> None:
        process.say(Trial(n_items), "ran a trial call")
        answer = process.wait_for(Answer, self._engine.clock() + self._engine.deadline_s)
        for outcome in map(decode_outcome, answer.outcomes):
            report_trial(self._engine.name, outcome)

    def _serve(self, process: _Process) -> None:
        """Runs batches until there will be no more. Whatever it raises, the jobs it had have been handed back."""
        engine = self._engine
        process.activity = "waited for work"
        source, limits, arena = engine.source, engine.limits, process.arena
        assert source is not None
        while True:
            self._enter("idle")
            work = source.take(limits, arena.memory, process.died)
            if work is None:
                if process.died.is_set:
                    raise ChannelClosed("it died while it waited")
                return
            self._enter("busy")
            used_bytes = work.batch.audio.nbytes
            jobs, lengths = self._alone_if_tried_before(source, work)
            del work
            self._call(process, source, jobs, lengths)
            del jobs  # A worker that waits keeps no audio alive.
            arena.trim(used_bytes)

    def _alone_if_tried_before(self, source: JobSource, work: Work) -> tuple[list[Job], list[int]]:
        """The jobs of `work` to run now. A job whose first worker died runs alone: whoever it was that killed it kills
        no others again. The rest goes back, untouched.
        """
        jobs, lengths = work.jobs, work.batch.lengths.tolist()
        if len(jobs) > 1 and any(job.attempts > 1 for job in jobs):
            _give_back(source, jobs[1:])
            return jobs[:1], lengths[:1]
        return jobs, lengths

    def _call(self, process: _Process, source: JobSource, jobs: list[Job], lengths: list[int]) -> None:
        engine = self._engine
        if process.dead:  # Died while it waited: none of these is to blame.
            _give_back(source, jobs)
            raise ChannelClosed
        now_s = engine.clock()
        try:
            process.say(Run(lengths), f"ran {'a call' if len(jobs) == 1 else f'{len(jobs)} calls in a batch'}")
            answer = process.wait_for(Answer, now_s + patience_s(jobs, now_s))
        except TimeoutError:
            process.kill()
            if len(jobs) == 1:
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
        outcomes = [decode_outcome(raw) for raw in answer.outcomes]
        if len(outcomes) != len(jobs):
            logger.error("a bug of ours: a worker process answered %d calls with %d outcomes", len(jobs), len(outcomes))
            outcomes = [InternalError(_INTERNAL) for _ in jobs]
        with engine.changed:
            self._backoff.reset()
            engine.totals.add_batch(outcomes, answer.retried)
            engine.changed.notify_all()
        source.finish(jobs, outcomes)

    def _enter(self, state: _State) -> None:
        engine = self._engine
        with engine.changed:
            self.state = state
            if state == "idle":
                self.busy_since_s, self.refused = None, False
            elif self.busy_since_s is None:
                self.busy_since_s = engine.clock()
            engine.changed.notify_all()

    def _complain(self, text: str, refused: bool = False) -> None:
        with self._engine.changed:
            self.complaint, self.refused = text, refused
            self._engine.changed.notify_all()


def _give_back(source: JobSource, jobs: Sequence[Job]) -> None:
    """Hands back jobs which have not been run: this attempt is not held against them."""
    for job in jobs:
        job.attempts -= 1
    source.requeue(jobs)


class _Refusal(Exception):
    """The model could not be loaded or warmed up; the text is the worker's."""


class _Process:
    """One worker process, from its start to its burial. Used by the thread that made it; any thread may kill it."""

    def __init__(self, engine: ProcessEngine) -> None:
        """Raises OSError when the machine has no more processes, memory or file descriptors for us, and RuntimeError
        when it has no more threads.
        """
        self.activity = "loaded the model"
        self.died = Interrupt()
        """Set when it has died: the `take` that waits for its work returns."""
        self._clock = engine.clock
        self._lock = threading.Lock()
        self._buried = False
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                self.arena = SharedArena()
                undo.callback(self.arena.close)
                arguments = {
                    "spec": engine.spec,
                    "options": engine.options,
                    "socket_fd": theirs.fileno(),
                    "arena_fd": self.arena.fd,
                    "parent_pid": os.getpid(),
                    "log_levels": {name: logging.getLogger(name).level for name in ("", "voxgate")},
                }
                self._popen = start_python(
                    "voxgate.inference.engine.worker",
                    arguments,
                    pass_fds=(theirs.fileno(), self.arena.fd),
                    stdout=_standard_error(),  # What the model prints must not get between the lines of our own output.
                    env=engine.environment,
                    start_new_session=True,  # Out of the terminal's reach, and one group with what the model starts.
                )
            self.pid = self._popen.pid
            undo.callback(self._bury)
            self._pidfd = open_pidfd(self.pid)
            if self._pidfd is not None:
                undo.callback(os.close, self._pidfd)
            self._channel = Channel(ours, self._pidfd, engine.clock)
            self._watch = spawn_thread(
                lambda: self._wait_for_death(engine), f"voxgate-watch-{self.pid}", daemon=True, subsystem=_SUBSYSTEM
            )
            undo.pop_all()

    # --- talking ---

    def say(self, message: Message, activity: str) -> None:
        """`activity`: what it does from now on, in the past tense, for its obituary."""
        self.activity = activity
        self._channel.send(message)

    def prepare(self, arena_bytes: int, warm_up: bool) -> None:
        self.arena.resize(arena_bytes)
        self.say(Prepare(arena_bytes, warm_up), "warmed the model up")

    def wait_for(self, kind: type[_Expected], until_s: float) -> _Expected:
        """The next message, which has to be of that kind; log records on the way are logged, and a refusal is raised.

        Raises _Refusal, TimeoutError, ChannelClosed.
        """
        message = self._receive(until_s)
        if isinstance(message, Refused):
            raise _Refusal(message.text)
        if not isinstance(message, kind):
            raise AssertionError(f"expected {kind.__name__} from a worker, not {type(message).__name__}")
        return message

    def quit(self) -> None:
        """Lets it close the model; kills it when that takes too long."""
        with contextlib.suppress(ChannelClosed, TimeoutError):
            self.say(Quit(), "closed the model")
            self._receive(self._clock() + _QUIT_TIMEOUT_S)

    def _receive(self, until_s: float) -> Message:
        """The next message that is no log record. A worker that does nothing but log is out of time like any other."""
        while True:
            message = self._channel.receive(until_s)
            if not isinstance(message, Record):
                return message
            self._log(message)
            if self._clock() >= until_s:
                raise TimeoutError

    def _log(self, record: Record) -> None:
        to = logging.getLogger(record.logger)
        if not to.isEnabledFor(record.level):
            return
        fields = {
            "name": record.logger,
            "levelno": record.level,
            "levelname": logging.getLevelName(record.level),
            "msg": record.text,
            "args": None,
            "exc_text": record.stack or None,
            "process": self.pid,
            "processName": "voxgate-worker",
        }
        to.handle(logging.makeLogRecord(fields))

    # --- dying ---

    def _wait_for_death(self, engine: ProcessEngine) -> None:
        poller = select.poll()
        if self._pidfd is not None:
            poller.register(self._pidfd, select.POLLIN)
        else:
            poller.register(self._channel, 0)  # Nothing but the hang-up, which is always reported.
        poller.poll()
        self.died.set()
        if engine.source is not None:
            engine.source.interrupt(self.died)

    @property
    def dead(self) -> bool:
        return self._died_within(0.0)

    def kill(self) -> None:
        """The process and everything it has started. Any thread; harmless for a dead one."""
        with self._lock:
            if not self._buried:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)  # Its group does not exist before it has come up.

    def obituary(self) -> str:
        """What happened to it, after its end of the channel closed."""
        self._died_within(1.0)  # Its own cause of death, not ours, if it is dying.
        self._bury()
        status = self._popen.returncode
        try:
            cause = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        except ValueError:
            cause = f"was ended by signal {-status}"
        return f"the worker process (pid {self.pid}) {cause} while it {self.activity}"

    def dispose(self) -> None:
        """Ends and buries it, and frees what belonged to it. Its own thread; the last thing that is done to it."""
        self._bury()
        self._channel.hang_up()
        self._watch.join()  # It looks at what is closed now.
        self._channel.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.arena.close()

    def _bury(self) -> None:
        self.kill()
        with self._lock:
            self._popen.wait()
            self._buried = True

    def _died_within(self, timeout_s: float) -> bool:
        if self._pidfd is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_s)
            return self._popen.returncode is not None
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))


def _standard_error() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
