"""Ctrl-C and SIGTERM: the first ends the work in good order, the second ends it at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

__all__ = ["Interrupts"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Within it, the first signal calls `stop` in the loop; the second, or the first if `stop` returns False, cancels
    the task. A third one has its usual effect. A signal that the process ignores stays ignored; outside of the main
    thread nothing happens.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self.number: int | None = None
        """The last signal that came."""
        self.quits = False
        """Whether the task was cancelled for it."""
        self._stop = stop
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        with contextlib.suppress(ValueError):  # not the main thread
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.quits:
            self._task.uncancel()

    # Not the loop's own handlers: while the loop waits for a reader of the output, those would wait, too.
    def _came(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._count += 1
        if self._count > 1:
            for each in self._before:
                signal.signal(each, signal.SIG_DFL)
        self._loop.call_soon_threadsafe(self._act, self._count)

    def _act(self, count: int) -> None:
        if count == 1 and self._stop():
            return
        if not self.quits:
            self.quits = True
            self._task.cancel()
