"""The way of log lines out of the process, on a thread of its own, so that a slow reader delays no other thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

from voxgate.runtime.tasks import spawn_thread

__all__ = ["LogWriter"]

MAX_CHARACTERS: Final = 4 * 2**20
"""Total length of the lines that wait. Further lines are lost, and counted."""


class LogWriter:
    """A stream whose `write` never waits. A pipe that nobody reads, or a stopped terminal, would otherwise block the
    thread that logs: the event loop, and with it every stream.

    Any thread may call it. Lines leave in the order of their `write`. Lines that wait when the process is killed are
    lost.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str], max_characters: int = MAX_CHARACTERS) -> None:
        """`lost`: makes the line that reports the number of lost lines."""
        self._stream = stream
        self._lost = lost
        self._max_characters = max_characters
        self._lines: deque[str] = deque()
        self._n_characters = 0
        self._n_lost = 0
        self._changed = threading.Condition()
        self._running = False
        self._writing = False

    def write(self, line: str) -> None:
        with self._changed:
            if self._n_characters + len(line) > self._max_characters and self._lines:
                self._n_lost += 1
                return
            self._lines.append(line)
            self._n_characters += len(line)
            if self._running:
                self._changed.notify_all()
                return
            self._running = True
        try:
            spawn_thread(self._run, "voxgate-log", daemon=True, subsystem="logs")
        except RuntimeError:  # No room for another thread: this one writes, and the next line tries again.
            self._run(until_empty=True)

    def flush(self) -> None:
        """Does nothing: lines leave as soon as they can; see `drain`."""

    def drain(self, timeout_s: float) -> bool:
        """Waits until all lines have left. False: they have not after `timeout_s` seconds."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while self._lines or self._writing or self._n_lost:
                wait_s = end_s - time.monotonic()
                if wait_s <= 0 or not self._running:
                    return False
                self._changed.wait(wait_s)
            return True

    def _run(self, until_empty: bool = False) -> None:
        try:
            while (text := self._next(until_empty)) is not None:
                self._stream.write(text)
                self._stream.flush()
        except BaseException as error:
            with self._changed:
                self._lines.clear()
                self._n_characters = self._n_lost = 0
                self._writing = self._running = False
                self._changed.notify_all()
            if not isinstance(error, (OSError, ValueError)):  # these two: the reader is gone
                raise

    def _next(self, until_empty: bool) -> str | None:
        """All lines that wait. When there are none it waits for one, or returns None if `until_empty`."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            while not self._lines:
                if until_empty:
                    self._running = False
                    return None
                self._changed.wait()
            text = "".join(self._lines)
            if self._n_lost:
                text += self._lost(self._n_lost)
            self._lines.clear()
            self._n_characters = self._n_lost = 0
            self._writing = True
            return text
