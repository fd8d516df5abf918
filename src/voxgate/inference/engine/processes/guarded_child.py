"""The inside of a guarded process: the channel to the process that started it, and the end with it.

The parent alone decides when the process ends. The process ignores signals that are meant for the server (Ctrl-C
reaches the whole terminal, a service manager's SIGTERM all processes of the service). When the parent dies, however it
does, the process exits at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.remote_log import RemoteLog
from voxgate.runtime.tasks import spawn_thread

__all__ = ["enter", "ignore_signals", "leave"]

_PR_SET_PDEATHSIG = 1


def enter(socket_fd: int, parent_pid: int, log_levels: Mapping[str, int], kinds: Any) -> tuple[Channel, RemoteLog]:
    """To be called first, on the main thread. The channel to the parent, and the log that goes there.

    kinds: the union of the messages. log_levels: the lowest levels that are sent, by logger (``""`` is the root).
    """
    ignore_signals()
    _die_with(parent_pid)
    os.set_inheritable(socket_fd, False)  # Children of this process must not keep the channel open.
    sock = socket.socket(fileno=socket_fd)
    channel = Channel(sock, kinds=kinds)
    log = RemoteLog(channel)
    logging.root.addHandler(log)
    for name, level in log_levels.items():
        logging.getLogger(name).setLevel(level)
    spawn_thread(lambda: _exit_with(sock), "voxgate-worker-lifeline", daemon=True, subsystem="engine")
    return channel, log


def leave(status: int) -> NoReturn:
    """Ends the process; threads that foreign code left behind do not keep it alive."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def ignore_signals() -> None:
    """Ctrl-C and SIGTERM have no effect. On the main thread; again after a library has set handlers of its own."""

    def ignore(number: int, frame: object) -> None:
        pass  # A handler, not SIG_IGN: programs that this process starts must not inherit it.

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)
        signal.siginterrupt(number, False)


def _die_with(parent_pid: int) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("300")  # When memory runs out, the kernel takes this process before the server.
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # The lifeline does the same, unless the GIL is held.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def _exit_with(sock: socket.socket) -> None:
    """Ends the process when the parent closes its end of the channel, even while other code runs."""
    poller = select.poll()
    poller.register(sock, 0)  # Nothing but the hang-up, which is always reported.
    poller.poll()
    os._exit(1)
