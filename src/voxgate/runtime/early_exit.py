"""What a signal does to a server that is still starting: it ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from types import FrameType
from typing import Any

from voxgate.runtime.tasks import spawn_thread

__all__ = ["EarlyExit"]


class EarlyExit:
    """Until the server serves, SIGTERM and Ctrl-C end the process at once, with exit code 0: nothing needs tidying up.
    This includes the time that the main thread spends in a model's C code, where Python runs no handler.

    A context manager. A body that never calls `over` gets its signal handlers back at the end. Does nothing outside of
    the main thread.
    """

    def __init__(self) -> None:
        self._written: socket.socket | None = None
        self._before: dict[int, Any] = {}
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
            self._before[number] = signal.signal(number, _end)

    def __enter__(self) -> EarlyExit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._written is not None:
            self.over()
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def over(self) -> None:
        """The event loop is about to run and installs its own handlers; until then, these stay."""
        if self._written is not None:
            signal.set_wakeup_fd(-1)
            self._written.close()
            self._written = None


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)
