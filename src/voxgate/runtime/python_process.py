"""Python processes that this one starts: server processes, and worker processes that run a model."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["open_pidfd", "start_python"]

BOOT: Final = """\
import pickle, signal, sys
signal.signal(signal.SIGINT, lambda *_: None)
try:
    sys.path[:] = pickle.load(sys.stdin.buffer)
    start = pickle.load(sys.stdin.buffer)
except EOFError:
    sys.exit(1)  # The parent process has died before it had sent everything.
from importlib import import_module
import_module(start.pop("module")).main(**start["arguments"])
"""
"""The program of the new interpreter. It ignores Ctrl-C, which reaches all processes of a terminal: the parent process
decides when this one ends.
"""


def start_python(
    module: str, arguments: Mapping[str, Any], pass_fds: Sequence[int], **options: Any
) -> subprocess.Popen[bytes]:
    """Starts an interpreter with this one's module path, which calls `main` of `module` with `arguments`. Both cross
    its standard input as pickles, the only ones between the two processes.

    pass_fds: file descriptors that it inherits under the same numbers. options: as for Popen. Raises OSError when the
    system has no room for another process, for its memory or for its files; then nothing is left behind.
    """
    path = [entry or os.getcwd() for entry in sys.path]
    # The path comes first, in a pickle of its own: the arguments may hold objects of modules that only it leads to.
    message = pickle.dumps(path) + pickle.dumps({"module": module, "arguments": dict(arguments)})
    process = subprocess.Popen([sys.executable, "-P", "-c", BOOT], stdin=subprocess.PIPE, pass_fds=pass_fds, **options)
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # broken: the process has died already
            stdin.write(message)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def open_pidfd(pid: int) -> int | None:
    """A file descriptor that becomes readable when the process ends. It does so long before the process's sockets
    close, if its own children keep those open. None where the system has no such files or forbids them; OSError when
    there is no room for another file.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return None
