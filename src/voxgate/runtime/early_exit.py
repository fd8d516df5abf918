"""What a signal does to a server that is still starting: it ends the process at once."""

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
    """From when it is made, SIGTERM and Ctrl-C end the process with exit code 0: nobody is served yet, and nothing is
    to be tidied up. Also while the main thread is inside a model's C code, where Python runs no handler of its own.

    Does nothing when it is made outside of the main thread.
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

        with contextlib.suppress(RuntimeError):  # No room for a thread: the handler is left.
            spawn_thread(watch, "voxgate-early-end", daemon=True, subsystem="serving")
        signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end)

    def over(self) -> None:
        """The event loop is about to run, and takes the signals over: until it has, the handler stays."""
        if self._written is not None:
            signal.set_wakeup_fd(-1)
            self._written.close()
            self._written = None


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)
