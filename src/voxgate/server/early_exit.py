"""The effect of a signal on a server that is still starting: the process ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from types import FrameType

from voxgate.runtime.tasks import spawn_thread

__all__ = ["EarlyExit"]


class EarlyExit:
    """From its construction on, SIGTERM and Ctrl-C end the process with exit code 0: no client is connected yet, and
    there is nothing to clean up. This holds also while the main thread runs a model's C code, where Python runs no
    signal handler.

    Has no effect when it is constructed outside of the main thread.
    """

    def __init__(self) -> None:
        self._written: socket.socket | None = None
        if threading.current_thread() is not threading.main_thread():
            return
        read, self._written = socket.socketpair()
        self._written.setblocking(False)

        def watch() -> None:
            with read:
                if read.recv(1):
                    os._exit(0)

        with contextlib.suppress(RuntimeError):  # no room for a thread: the handler below remains
            spawn_thread(watch, "voxgate-early-end", daemon=True, subsystem="serving")
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)

    def over(self) -> None:
        """The event loop is about to run, and replaces the handler, which stays until then."""
        if self._written is not None:
            signal.set_wakeup_fd(-1)
            self._written.close()
            self._written = None


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)
