"""Standard input, output and error of the program."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Final

from voxgate.cli.output import ESCAPES, NamedFile, silence

__all__ = ["NAME", "flush", "is_readable", "prepare"]

NAME: Final = "standard output"
"""The file name in an OSError from standard output."""


def prepare() -> None:
    """Opens /dev/null in place of closed descriptors, so that no other file gets their numbers.

    Makes standard output accept any text, in any encoding. To be called first.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_WRONLY)  # reading standard input stays an error
            if opened == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    if sys.stderr is None:
        sys.stderr = _writer(2, "standard error", "utf-8", "backslashreplace", line_buffering=True)
    if sys.stdout is None:
        sys.stdout = _writer(1, NAME, "utf-8", ESCAPES)
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        before = sys.stdout
        before.flush()
        sys.stdout = _writer(1, NAME, before.encoding, ESCAPES, before.line_buffering, before.write_through)


def _writer(
    number: int, name: str, encoding: str, errors: str, line_buffering: bool = False, write_through: bool = False
) -> io.TextIOWrapper:
    file = io.BufferedWriter(NamedFile(number, name, closefd=False))
    return io.TextIOWrapper(file, encoding, errors, line_buffering=line_buffering, write_through=write_through)


def flush() -> OSError | None:
    """Flushes standard output. Returns the error if that failed; the buffered output is then discarded."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):
            silence(sys.stdout.fileno())
            sys.stdout.flush()
        return error
    except ValueError:
        pass  # closed
    return None


def is_readable(descriptor: int) -> bool:
    """Whether `descriptor` is open for reading."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: reading will tell
        return True
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
    except OSError:
        return False
