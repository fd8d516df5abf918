"""A child process that is watched: its start, its channel, its death, and what it leaves behind."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.messages import Record
from voxgate.inference.engine.processes.remote_log import write_record
from voxgate.runtime.python_process import open_pidfd, start_python
from voxgate.runtime.tasks import spawn_thread

__all__ = ["GuardedProcess"]

_SUBSYSTEM = "engine"


class GuardedProcess:
    """Belongs to the thread that made it; any thread may call `kill` and `try_send`.

    It is killed with everything in its process group, and it ends by itself when this process dies
    (:mod:`.guarded_child`).
    """

    def __init__(
        self,
        module: str,
        arguments: Mapping[str, Any],
        *,
        what: str,
        activity: str,
        kinds: Any,
        clock: Callable[[], float],
        on_death: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Starts an interpreter that calls `main` of `module` with `arguments` and with those of `guarded_child.enter`.

        `what`: its name in `exit_reason`. `activity`: what it does first, in the past tense. `kinds`: the union of its
        messages. `clock`: seconds. `on_death`: called on a thread of its own when the process has ended.

        Raises OSError when the machine has no more processes, memory or file descriptors, and RuntimeError when it has
        no more threads; nothing is left behind then.
        """
        self.activity = activity
        self._what = what
        self._clock = clock
        self._on_death = on_death
        self._lock = threading.Lock()
        self._is_reaped = False
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                own = {
                    "socket_fd": theirs.fileno(),
                    "parent_pid": os.getpid(),
                    "log_levels": {name: logging.getLogger(name).level for name in ("", "voxgate")},
                }
                self._popen = start_python(
                    module,
                    {**arguments, **own},
                    pass_fds=(theirs.fileno(), *pass_fds),
                    stdout=_standard_error(),  # What it prints must not get between the lines of our own output.
                    env=environment,
                    start_new_session=True,  # Away from the terminal, and one group with the processes that it starts.
                )
            self.pid = self._popen.pid
            undo.callback(self._reap)
            self._pidfd = open_pidfd(self.pid)
            if self._pidfd is not None:
                undo.callback(os.close, self._pidfd)
            self._channel = Channel(ours, self._pidfd, clock, kinds)
            self._watch = spawn_thread(
                self._wait_for_death, f"voxgate-watch-{self.pid}", daemon=True, subsystem=_SUBSYSTEM
            )
            undo.pop_all()

    # --- messages ---

    def send(self, message: Any, activity: str | None = None) -> None:
        """`activity`: what the process does from now on, in the past tense, for its `exit_reason`. Raises
        ChannelClosed.
        """
        if activity is not None:
            self.activity = activity
        self._channel.send(message)

    def try_send(self, message: Any) -> bool:
        """As `send`, but only if that can be done without waiting. Any thread, also after `close`."""
        return self._channel.try_send(message)

    def next_message(self, until_s: float) -> Any:
        """The next message that is no log record; those are logged. Raises TimeoutError at `until_s` of the clock, also
        for a process that logs all the time, and ChannelClosed.
        """
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
        self._on_death()

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
        return f"the {self._what} (pid {self.pid}) {cause} while it {self.activity}"

    def close(self) -> None:
        """Kills the process, waits for its end and frees everything that belongs to it. The last call."""
        self._reap()
        self._channel.hang_up()
        self._watch.join()  # It polls what is closed next.
        self._channel.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

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
