"""One worker process, from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from voxgate._native.batch import Interrupt
from voxgate.inference.engine.processes.arena import SharedArena
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import (
    Answer,
    Loaded,
    Message,
    Partial,
    Prepare,
    Quit,
    Record,
    Refused,
    Warm,
)
from voxgate.inference.engine.processes.remote_log import write_record
from voxgate.runtime.python_process import open_pidfd, start_python
from voxgate.runtime.tasks import spawn_thread

__all__ = ["QUIT_TIMEOUT_S", "ModelRefused", "WorkerProcess"]

QUIT_TIMEOUT_S = 5.0
"""How long the worker may take to close its model."""

_SUBSYSTEM = "engine"

_Expected = TypeVar("_Expected", Loaded, Warm, Answer)


class ModelRefused(Exception):
    """The model could not be loaded or warmed up; the text comes from the worker."""


class WorkerProcess:
    """Belongs to the thread that made it; any thread may call `kill`."""

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any],
        environment: Mapping[str, str],
        on_death: Callable[[Interrupt], None],
        clock: Callable[[], float],
    ) -> None:
        """Starts the process, which begins to load its model.

        on_death: called with `died`, on a thread of its own, when the process has ended. clock: seconds.

        Raises OSError when the machine has no more processes, memory or file descriptors, and RuntimeError when it has
        no more threads; nothing is left behind then.
        """
        self.activity = "loaded the model"
        self.died = Interrupt()
        """Set when the process has ended: the `take` that waits for its work returns."""
        self._on_death = on_death
        self._clock = clock
        self._lock = threading.Lock()
        self._is_reaped = False
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                self.arena = SharedArena()
                undo.callback(self.arena.close)
                arguments = {
                    "spec": spec,
                    "options": dict(options),
                    "socket_fd": theirs.fileno(),
                    "arena_fd": self.arena.fd,
                    "parent_pid": os.getpid(),
                    "log_levels": {name: logging.getLogger(name).level for name in ("", "voxgate")},
                }
                self._popen = start_python(
                    "voxgate.inference.engine.processes.worker",
                    arguments,
                    pass_fds=(theirs.fileno(), self.arena.fd),
                    stdout=_standard_error(),  # What the model prints must not get between the lines of our own output.
                    env=environment,
                    start_new_session=True,  # Away from the terminal, and one group with the processes that it starts.
                )
            self.pid = self._popen.pid
            undo.callback(self._reap)
            self._pidfd = open_pidfd(self.pid)
            if self._pidfd is not None:
                undo.callback(os.close, self._pidfd)
            self._channel = Channel(ours, self._pidfd, clock)
            self._watch = spawn_thread(
                self._wait_for_death, f"voxgate-watch-{self.pid}", daemon=True, subsystem=_SUBSYSTEM
            )
            undo.pop_all()

    # --- messages ---

    def send(self, message: Message, activity: str) -> None:
        """`activity`: what the process does from now on, in the past tense, for its `exit_reason`."""
        self.activity = activity
        self._channel.send(message)

    def try_send(self, message: Message) -> bool:
        """As `send`, but only if that can be done without waiting. Any thread, also after `close`."""
        return self._channel.try_send(message)

    def prepare(self, arena_bytes: int, warm_up: bool) -> None:
        self.arena.resize(arena_bytes)
        self.send(Prepare(arena_bytes, warm_up), "warmed the model up")

    def receive(self, kind: type[_Expected], until_s: float) -> _Expected:
        """The next message, which must be of that kind; log records before it are logged.

        Raises ModelRefused, TimeoutError at `until_s` of the clock, and ChannelClosed.
        """
        message = self._receive(until_s)
        if isinstance(message, Refused):
            raise ModelRefused(message.text)
        if not isinstance(message, kind):
            raise AssertionError(f"expected {kind.__name__} from a worker, not {type(message).__name__}")
        return message

    def receive_answer(self, until_s: float, on_partial: Callable[[Partial], None]) -> Answer:
        """As `receive`, for an Answer; gives the interim results before it to `on_partial`."""
        while isinstance(message := self._receive(until_s), Partial):
            on_partial(message)
            if self._clock() >= until_s:
                raise TimeoutError
        if not isinstance(message, Answer):
            raise AssertionError(f"expected an Answer from a worker, not {type(message).__name__}")
        return message

    def quit(self) -> None:
        """Asks it to close the model and waits for its end, at most QUIT_TIMEOUT_S."""
        with contextlib.suppress(ChannelClosed, TimeoutError):
            self.send(Quit(), "closed the model")
            self._receive(self._clock() + QUIT_TIMEOUT_S)

    def _receive(self, until_s: float) -> Message:
        """The next message that is no log record. The time limit holds also for a worker that logs all the time."""
        while True:
            message = self._channel.receive(until_s)
            if not isinstance(message, Record):
                return message
            write_record(message, self.pid)
            if self._clock() >= until_s:
                raise TimeoutError

    # --- the end ---

    def _wait_for_death(self) -> None:
        poller = select.poll()
        if self._pidfd is not None:
            poller.register(self._pidfd, select.POLLIN)
        else:
            poller.register(self._channel, 0)  # Nothing but the hang-up, which is always reported.
        poller.poll()
        self.died.set()
        self._on_death(self.died)

    @property
    def is_dead(self) -> bool:
        return self._ends_within(0.0)

    def kill(self) -> None:
        """Kills the process and every process in its group. Any thread; does nothing when the process has ended."""
        with self._lock:
            if not self._is_reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)  # While it starts, its group does not exist yet.

    def exit_reason(self) -> str:
        """Why the process ended, after it closed its end of the channel. Kills it when it is still running."""
        self._ends_within(1.0)  # If it is exiting by itself, the reason is its own exit status and not our SIGKILL.
        self._reap()
        status = self._popen.returncode
        try:
            cause = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        except ValueError:
            cause = f"was ended by signal {-status}"
        return f"the worker process (pid {self.pid}) {cause} while it {self.activity}"

    def close(self) -> None:
        """Kills the process, waits for its end and frees everything that belongs to it. The last call."""
        self._reap()
        self._channel.hang_up()
        self._watch.join()  # It polls what is closed next.
        self._channel.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.arena.close()

    def _reap(self) -> None:
        self.kill()
        with self._lock:
            self._popen.wait()
            self._is_reaped = True

    def _ends_within(self, timeout_s: float) -> bool:
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
