"""A server process as its supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

from voxgate.config import Config
from voxgate.runtime.python_process import open_pidfd, start_python
from voxgate.server.lifeline import ReportReader

__all__ = ["ServerProcess"]

EXIT_S = 1.0
"""A process whose line is closed has this long to exit before it is killed."""


class ServerProcess:
    """Started by the constructor. `reap` or `kill` releases it, once."""

    def __init__(self, number: int, config: Config, directory: str, is_replacement: bool) -> None:
        """The arguments are those of `worker.main`. OSError when the system has no room for another process or file."""
        self.number = number
        self.started_s = time.monotonic()
        self.is_ready = False
        """The process has reported that it serves."""
        self.failure: str | None = None
        """Why it cannot serve, as it has reported."""
        self.silent_s = 0.0
        """Time since it last sent anything, as the supervisor adds it up."""
        self.is_hung = False
        """Killed because it was silent for too long."""
        self._reports = ReportReader()
        with contextlib.ExitStack() as undo:
            self.line, theirs = socket.socketpair()
            undo.callback(self.line.close)
            self.line.setblocking(False)
            with theirs:
                arguments = {
                    "config": config,
                    "number": number,
                    "directory": directory,
                    "socket_fd": theirs.fileno(),
                    "is_replacement": is_replacement,
                }
                self._process = start_python("voxgate.server.worker", arguments, pass_fds=[theirs.fileno()])
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self.pid = self._process.pid
            self.pidfd = open_pidfd(self.pid)
            undo.pop_all()

    @property
    def watched(self) -> list[socket.socket | int]:
        """The files that become readable when the process sends something or ends."""
        return [self.line] if self.pidfd is None else [self.line, self.pidfd]

    def receive(self) -> bool:
        """Reads what the process has sent. False: the line is closed."""
        while True:
            try:
                data = self.line.recv(65_536)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                return False
            self.silent_s = 0.0
            for failure in self._reports.feed(data):
                self.failure, self.is_ready = failure, failure is None

    def drain(self) -> None:
        """Asks the process to end."""
        self._process.terminate()

    def kill_hung(self) -> None:
        """Its end is seen like that of any other."""
        self.is_hung = True
        self._process.kill()

    def reap(self) -> int:
        """The exit code of a process that ends; it is killed when it does not."""
        self.receive()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._wait(EXIT_S)
        self._process.kill()
        return self._wait(None)

    def kill(self) -> None:
        self._process.kill()
        self._wait(None)

    def _wait(self, timeout_s: float | None) -> int:
        code = self._process.wait(timeout_s)
        self.line.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        return code
