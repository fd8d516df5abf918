"""Failures in the log: each kind in full once, its repetitions as a count."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["FailureLog"]


@dataclass(slots=True)
class _Seen:
    logged_s: float
    n_held_back: int = 0


class FailureLog:
    """Logs a kind of failure with its stack at most once every `interval_s`, and says how many it held back since the
    last time.

    Two failures are of one kind when their exceptions have the same type and were raised at the same place. A model
    that fails on every call for a day thus writes a line a minute, and a new failure is still seen at once. At most
    `max_kinds` are remembered; beyond that the one logged longest ago is forgotten. Any thread may call it.
    """

    def __init__(
        self,
        logger: logging.Logger,
        interval_s: float = 60.0,
        max_kinds: int = 128,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._interval_s = interval_s
        self._max_kinds = max_kinds
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[object, ...], _Seen] = OrderedDict()

    def write(self, what: str, error: BaseException | None = None) -> None:
        """`what` happened; `error`, when there is one, is logged with its stack. Without one, `what` is the kind."""
        kind = (what,) if error is None else _kind(error)
        now_s = self._clock()
        with self._lock:
            seen = self._seen.get(kind)
            if seen is not None and now_s - seen.logged_s < self._interval_s:
                seen.n_held_back += 1
                return
            n_held_back = seen.n_held_back if seen is not None else 0
            self._seen[kind] = _Seen(now_s)
            self._seen.move_to_end(kind)
            if len(self._seen) > self._max_kinds:
                self._seen.popitem(last=False)
        again = f" ({n_held_back} more like it since it was last logged)" if n_held_back else ""
        self._logger.error("%s%s", what, again, exc_info=error)


def _kind(error: BaseException) -> tuple[object, ...]:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return (type(error),)
    return (type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno)
