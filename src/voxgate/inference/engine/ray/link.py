"""The server's side of the driver process: starts it, keeps it, and carries calls to it and answers back."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NoReturn

from voxgate.inference.engine.base import EngineCounts
from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.guarded import GuardedProcess
from voxgate.inference.engine.processes.messages import Quit
from voxgate.inference.engine.ray.messages import (
    Answered,
    Call,
    Cancel,
    DriverMessage,
    Facts,
    Failed,
    Forget,
    Status,
    Unable,
)
from voxgate.inference.engine.ray.settings import RaySettings
from voxgate.runtime.backoff import Backoff
from voxgate.runtime.tasks import spawn_thread

__all__ = ["DriverLink", "DriverLost", "NoDriver"]

logger = logging.getLogger("voxgate.inference.engine")

_SUBSYSTEM = "engine"
_DRIVER = "voxgate.inference.engine.ray.driver"
_SILENCE_S: Final = 30.0
"""A driver that says nothing for this long, beyond the time that it may miss the cluster, is killed."""
_MAX_BACKOFF_S = 10.0


class DriverLost(Exception):
    """The driver process ended during the call."""


class NoDriver(Exception):
    """There is no driver process, or no replica: the call was not made."""


class DriverLink:
    """Any thread may use it. One thread of its own runs one driver process at a time."""

    def __init__(
        self, settings: RaySettings, on_change: Callable[[], None], take_freed: Callable[[], list[Forget]]
    ) -> None:
        """`on_change`: called on the link's thread when facts or replicas changed. `take_freed`: the states to drop."""
        self._settings = settings
        self._on_change = on_change
        self._take_freed = take_freed
        self._lock = threading.Lock()
        self._process: GuardedProcess | None = None
        """That has joined the cluster."""
        self._started: GuardedProcess | None = None
        self._calls: dict[int, queue.SimpleQueue[Answered | Failed | None]] = {}
        self._number = 0
        self._counts = EngineCounts()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone
        self.facts: Facts | None = None
        """The newest; None until a driver has found the application."""
        self.replicas = 0
        """That answer, as far as is known; 0 without a driver."""
        self.reason = "the driver process starts"
        """Why there are none."""

    def start(self) -> None:
        self._thread = spawn_thread(self._run, "voxgate-ray", daemon=True, subsystem=_SUBSYSTEM)

    def stop(self, timeout_s: float | None) -> None:
        """Ends the driver; running calls are lost."""
        self._stopping.set()
        with self._lock:
            process, joined = self._started, self._process
        if process is not None and (joined is None or not joined.try_send(Quit())):
            process.kill()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                if process is not None:
                    process.kill()
                self._thread.join(timeout_s)

    @property
    def pid(self) -> int:
        """Of the driver process; 0: there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def counts(self) -> EngineCounts:
        """The ends of driver processes."""
        with self._lock:
            return replace(self._counts)

    # --- calls ---

    def call(
        self,
        message: Call,
        until_s: float,
        on_partial: Callable[[Answered], bool],
        on_begun: Callable[[Callable[[], None]], None],
    ) -> Answered | Failed:
        """Makes a call, whose `number` is set here, and waits without the GIL for its answer.

        on_partial: called with every Answered; False: it is the last. on_begun: called with a function that ends the
        call early, for any thread. Raises TimeoutError at `until_s` of `time.perf_counter`, DriverLost and
        NoDriver.
        """
        answers: queue.SimpleQueue[Answered | Failed | None] = queue.SimpleQueue()
        with self._lock:
            process = self._process
            if process is None or not self.replicas:
                raise NoDriver
            self._number += 1
            number = self._number
            self._calls[number] = answers
        try:
            for forget in self._take_freed():
                process.send(forget)
            process.send(Call(number, message.call, message.audio, message.replica, message.streams))
            on_begun(lambda: _ignore(process.try_send(Cancel(number))))
            while True:
                answer = answers.get(timeout=_left_s(until_s))
                if answer is None:
                    raise DriverLost
                if isinstance(answer, Failed) or not on_partial(answer):
                    return answer
        except queue.Empty:
            process.try_send(Cancel(number))
            raise TimeoutError from None
        except ChannelClosed:
            raise DriverLost from None
        finally:
            with self._lock:
                del self._calls[number]

    # --- its own thread ---

    def _run(self) -> None:
        backoff = Backoff(self._settings.restart_backoff_s, _MAX_BACKOFF_S)
        while not self._stopping.is_set():
            reason = self._run_process(backoff)
            self._lose(reason)
            if self._stopping.is_set():
                return
            wait_s = backoff.next_s()
            logger.warning("%s; starting another in %g s", reason, wait_s)
            if self._stopping.wait(wait_s):
                return
            with self._lock:
                self._counts.restarts += 1

    def _run_process(self, backoff: Backoff) -> str:
        """One driver process from its start to its end; returns why it ended."""
        settings = self._settings
        try:
            process = GuardedProcess(
                _DRIVER,
                {"app": settings.app, "address": settings.address, "lost_after_s": settings.lost_after_s},
                what="Ray driver process",
                activity="joined the cluster",
                kinds=DriverMessage,
                clock=time.perf_counter,
                on_death=lambda: None,
            )
        except (OSError, RuntimeError) as error:
            return f"the Ray driver process cannot be started: {error}"
        with self._lock:
            self._started = process
        try:
            if self._stopping.is_set():  # `stop` may not have seen the process.
                return ""
            self._receive_all(process, backoff)
        except _Unable as error:
            return str(error)
        except ChannelClosed:
            with self._lock:
                self._counts.crashes += not self._stopping.is_set()
            return process.exit_reason()
        except TimeoutError:
            with self._lock:
                self._counts.kills += 1
            return f"the Ray driver process (pid {process.pid}) was killed because it {process.activity} for too long"
        except Exception as error:
            logger.exception("a bug of ours: looking after the Ray driver process failed")
            return f"looking after the Ray driver process failed: {type(error).__name__}"
        finally:
            with self._lock:
                self._process, self._started, self.replicas = None, None, 0
            process.close()

    def _receive_all(self, process: GuardedProcess, backoff: Backoff) -> NoReturn:
        """Until the process ends: then it raises."""
        silence_s = max(self._settings.start_timeout_s, self._settings.lost_after_s + _SILENCE_S)
        while True:
            message = process.next_message(time.perf_counter() + silence_s)
            match message:
                case Answered() | Failed():
                    with self._lock:
                        answers = self._calls.get(message.number)
                    if answers is not None:  # Otherwise the call is over: its time was up.
                        answers.put(message)
                    continue
                case Facts():
                    self.facts = message
                case Status(replicas, reason):
                    process.activity = "served calls"
                    silence_s = self._settings.lost_after_s + _SILENCE_S
                    backoff.reset()
                    with self._lock:
                        self._process = process
                    self._note(replicas, reason)
                    for forget in self._take_freed():
                        process.send(forget)
                case Unable(text):
                    raise _Unable(text)
                case _:
                    raise AssertionError(f"{type(message).__name__} is no message of a driver")
            self._on_change()

    def _note(self, replicas: int, reason: str) -> None:
        if replicas != self.replicas:
            level = logging.WARNING if not replicas else logging.INFO
            logger.log(level, "%d replicas of the model on Ray%s", replicas, f": {reason}" if reason else "")
        self.replicas, self.reason = replicas, reason

    def _lose(self, reason: str) -> None:
        """The driver has ended: all its calls are lost."""
        with self._lock:
            self.replicas, self.reason = 0, reason
            waiting = list(self._calls.values())
        for answers in waiting:
            answers.put(None)
        self._on_change()


class _Unable(Exception):
    """The driver has said why it ends."""


def _left_s(until_s: float) -> float | None:
    return None if math.isinf(until_s) else max(0.0, until_s - time.perf_counter())


def _ignore(_: bool) -> None:
    """A Cancel that finds no room is not sent: the call is answered when it returns."""
