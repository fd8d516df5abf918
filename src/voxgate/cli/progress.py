"""A line on a terminal that says what a command waits for, and for how long already."""

from __future__ import annotations

import threading
import time
from typing import TextIO

from voxgate.cli.live import cut
from voxgate.runtime.tasks import spawn_thread

__all__ = ["Waiting"]

_QUIET_S = 2.0
_INTERVAL_S = 1.0


class Waiting:
    """A context manager: once its block has run for `quiet_s`, a terminal shows ``WHAT ... 3 s``, and with `total_s`
    ``WHAT ... 3 of 30 s``, until the block ends. Elsewhere than on a terminal it writes nothing. The block may write
    complete lines to `out`.
    """

    def __init__(
        self,
        out: TextIO,
        what: str,
        total_s: float | None = None,
        quiet_s: float = _QUIET_S,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self._out, self._what, self._total_s = out, what, total_s
        self._quiet_s, self._interval_s = quiet_s, interval_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone
        self._begin_s = 0.0

    def __enter__(self) -> Waiting:
        self._begin_s = time.monotonic()
        if self._out.isatty():
            self._thread = spawn_thread(self._show, "voxgate-progress", daemon=True, subsystem="client")
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._over.set()
            self._thread.join()

    def line(self, elapsed_s: float) -> str:
        """The text after `elapsed_s`."""
        of = "" if self._total_s is None or elapsed_s > self._total_s else f" of {self._total_s:.0f}"
        return f"{self._what} ... {elapsed_s:.0f}{of} s"

    def _show(self) -> None:
        wait_s, is_shown = self._quiet_s, False
        while not self._over.wait(wait_s):
            self._write(cut(self.line(time.monotonic() - self._begin_s), 79))
            wait_s, is_shown = self._interval_s, True
        if is_shown:
            self._write("")

    def _write(self, text: str) -> None:
        try:
            self._out.write(f"\r{text}\x1b[K\r" if not text else f"\r{text}\x1b[K")
            self._out.flush()
        except (OSError, ValueError):  # the terminal is gone; what else the command writes will say so
            self._over.set()
