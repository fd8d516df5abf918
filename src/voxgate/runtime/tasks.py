"""The only place that starts asyncio tasks and threads.

Each has a name, is kept alive until it ends, is logged when it fails, and is counted per subsystem: none runs or dies
unnoticed. A subsystem is a short constant such as ``"connection"`` or ``"engine"``. It becomes a metric label, so it
must never contain text that a client chose.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from voxgate.runtime.histogram import COARSE_S, Histogram
from voxgate.runtime.throttle import Throttle, and_more

__all__ = ["TaskCounts", "TaskTimes", "counts", "run_in_thread", "spawn_task", "spawn_thread", "times"]

T = TypeVar("T")

logger = logging.getLogger("voxgate.runtime.tasks")


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The tasks and threads of one subsystem since the process started."""

    started: int = 0
    finished: int = 0
    """Ended by returning."""
    failed: int = 0
    """Ended by an exception."""
    cancelled: int = 0
    """Tasks that ended by cancellation."""

    @property
    def running(self) -> int:
        return self.started - self.finished - self.failed - self.cancelled


class TaskTimes:
    """How long the tasks of one subsystem waited for the loop and held it, since the process started."""

    __slots__ = ("_throttle", "n_slow", "start_delay_s", "step_s", "subsystem")

    def __init__(self, subsystem: str) -> None:
        self.subsystem = subsystem
        self.start_delay_s = Histogram(COARSE_S)
        """From a task's creation to its first step."""
        self.step_s = Histogram(COARSE_S)
        """Duration of one step, from where a task resumes to where it waits again. It holds the loop for this long."""
        self.n_slow = 0
        self._throttle = Throttle(_QUIET_S, clock=perf_counter)

    def slow(self, name: str, step_s: float) -> None:
        """Counts a step of the task `name` that was too long, and logs it at most once a minute."""
        self.n_slow += 1
        n_left_out = self._throttle.admit()
        if n_left_out is not None:
            logger.log(
                logging.INFO if self.subsystem in _UNHURRIED else logging.WARNING,
                "a step of task %s (%s) held the event loop for %.0f ms%s",
                *(name, self.subsystem, step_s * 1000, and_more(n_left_out)),
            )


_SLOW_S: Final = 0.05
_QUIET_S: Final = 60
# Of clients, and of a model's warm-up: a short delay of their loop harms no stream, and would clutter a terminal.
_UNHURRIED: Final = ("client", "load", "load-cost", "load-reference", "engine-once")

_lock = threading.Lock()
_counts: dict[str, TaskCounts] = {}
_times: dict[str, TaskTimes] = {}
_tasks: set[asyncio.Task[Any]] = set()


def counts() -> Mapping[str, TaskCounts]:
    """A snapshot of the counters, by subsystem. Any thread may call it."""
    with _lock:
        return MappingProxyType(dict(_counts))


def times() -> Mapping[str, TaskTimes]:
    """By subsystem, for those that started tasks. Any thread may read them."""
    return MappingProxyType(dict(_times))


def spawn_task(coro: Coroutine[Any, Any, T], name: str, subsystem: str) -> asyncio.Task[T]:
    """Starts `coro` as a task of the running loop and keeps a reference to it until it ends.

    A failure is logged with its stack and counted, and raised as usual when the task is awaited. Cancellation is
    counted, not logged. Raises RuntimeError (and closes `coro`) when no loop runs
    in this thread.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        coro.close()
        raise
    times = _times.get(subsystem) or _times.setdefault(subsystem, TaskTimes(subsystem))
    task = loop.create_task(_Timed(coro, name, times), name=name)
    _tasks.add(task)
    _count(subsystem, "started")

    def ended(task: asyncio.Task[T]) -> None:
        _tasks.discard(task)
        if task.cancelled():
            _count(subsystem, "cancelled")
        elif (error := task.exception()) is not None:
            _failed(subsystem, f"task {name}", error)
        else:
            _count(subsystem, "finished")

    task.add_done_callback(ended)
    return task


class _Timed(Coroutine[Any, Any, T]):
    """A coroutine with timed steps. The timing costs about half a microsecond for each."""

    __slots__ = ("__weakref__", "_coro", "_created_s", "_name", "_times")

    def __init__(self, coro: Coroutine[Any, Any, T], name: str, times: TaskTimes) -> None:
        self._coro = coro
        self._name = name
        self._times = times
        self._created_s: float | None = perf_counter()

    def send(self, value: Any) -> Any:
        began_s = perf_counter()
        if self._created_s is not None:
            self._times.start_delay_s.observe(began_s - self._created_s)
            self._created_s = None
        try:
            return self._coro.send(value)
        finally:
            self._stepped(perf_counter() - began_s)

    def throw(self, *error: Any) -> Any:
        began_s = perf_counter()
        try:
            return self._coro.throw(*error)
        finally:
            del error  # its traceback refers to this frame: a cycle, which would keep the objects of the task alive
            self._stepped(perf_counter() - began_s)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coro.__await__()

    def __getattr__(self, name: str) -> Any:
        # For asyncio, which shows cr_code, cr_frame and others of the coroutine.
        return getattr(self._coro, name)

    def _stepped(self, step_s: float) -> None:
        times = self._times
        times.step_s.observe(step_s)
        if step_s > _SLOW_S:
            times.slow(self._name, step_s)


def spawn_thread(
    target: Callable[[], object], name: str, daemon: bool = False, subsystem: str = "threads"
) -> threading.Thread:
    """Starts a native thread that calls `target`.

    An exception that leaves `target` (also one that is no :class:`Exception`, such as SystemExit) ends the thread, is
    logged with its stack and counted. `daemon`: the process may exit while the thread runs.
    """
    return _start(target, name, daemon, subsystem, logged=True)


async def run_in_thread(function: Callable[[], T], name: str, subsystem: str) -> T:
    """Awaits a blocking `function` that runs on a daemon thread of its own; its exception is raised here (counted,
    not logged).

    It has its own thread and not one of a pool: a function may block for long (a warm-up, a join), and must neither
    wait for others nor delay them. When the awaiting task is cancelled, the thread continues and its outcome is
    dropped.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # None only when T is

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            _post(loop, settle, None, _carryable(error))
            raise
        _post(loop, settle, result, None)

    _start(run, name, daemon=True, subsystem=subsystem, logged=False)
    return await outcome


def _start(target: Callable[[], object], name: str, daemon: bool, subsystem: str, logged: bool) -> threading.Thread:
    def run() -> None:
        try:
            target()
        except BaseException as error:
            _failed(subsystem, f"thread {name}", error if logged else None)
        else:
            _count(subsystem, "finished")

    thread = threading.Thread(target=run, name=name, daemon=daemon)
    _count(subsystem, "started")
    try:
        thread.start()
    except RuntimeError as error:
        _failed(subsystem, f"thread {name}", error if logged else None)
        raise
    return thread


def _carryable(error: BaseException) -> BaseException:
    """`error`, wrapped if it would stop the loop or if a future does not accept it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} in a thread")
    wrapped.__cause__ = error
    return wrapped


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        logger.debug("a result came after its event loop was closed")


def _failed(subsystem: str, what: str, error: BaseException | None) -> None:
    """Counts a failure and logs `error`; None: the awaiting code gets the error, and nothing is logged."""
    _count(subsystem, "failed")
    if error is not None:
        logger.error("%s (%s) failed", what, subsystem, exc_info=error)


def _count(subsystem: str, what: Literal["started", "finished", "failed", "cancelled"]) -> None:
    with _lock:
        before = _counts.get(subsystem, TaskCounts())
        _counts[subsystem] = replace(before, **{what: getattr(before, what) + 1})
