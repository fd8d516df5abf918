"""A limit for log lines of one kind, and the number of lines that it left out."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["LeftOut", "Throttle", "and_more"]


class LeftOut(NamedTuple):
    """Lines of one kind that were not logged."""

    about: Any
    """The `about` of the first line of the interval."""
    n_lines: int
    during_s: float


@dataclass(slots=True)
class _Interval:
    began_s: float
    about: Any
    n_admitted: int = 1
    n_left_out: int = 0


class Throttle:
    """Admits the first `burst` lines of a kind in each `interval_s`, and counts the others.

    An interval begins with the first line of its kind. About `max_kinds` are remembered; beyond that the oldest is
    forgotten. Any thread may call it.
    """

    def __init__(
        self,
        interval_s: float,
        burst: int = 1,
        max_kinds: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds; a `now_s` of the methods stands in for it."""
        self._interval_s = interval_s
        self._burst = burst
        self._max_kinds = max_kinds
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[Hashable, _Interval] = OrderedDict()  # the oldest interval first

    def admit(
        self, kind: Hashable = None, about: Any = None, burst: int | None = None, now_s: float | None = None
    ) -> int | None:
        """None: the line is left out, and counted. Otherwise it is to be logged, and the number is that of the lines
        left out since the last one that was logged, as far as `over` has not returned them.

        `burst`: for this kind another one; `about`: for `LeftOut`.
        """
        now_s = self._clock() if now_s is None else now_s
        with self._lock:
            interval = self._kinds.get(kind)
            if interval is None or now_s - interval.began_s >= self._interval_s:
                self._kinds[kind] = _Interval(now_s, about)
                self._kinds.move_to_end(kind)
                while len(self._kinds) > self._max_kinds + 1:  # one more than `over` leaves
                    self._kinds.popitem(last=False)
                return 0 if interval is None else interval.n_left_out
            if interval.n_admitted < (self._burst if burst is None else burst):
                interval.n_admitted += 1
                return 0
            interval.n_left_out += 1
            return None

    def is_quiet(self, kind: Hashable = None, now_s: float | None = None) -> bool:
        """True when `admit` would leave a line out now. Counts nothing."""
        now_s = self._clock() if now_s is None else now_s
        with self._lock:
            interval = self._kinds.get(kind)
            return (
                interval is not None
                and now_s - interval.began_s < self._interval_s
                and interval.n_admitted >= self._burst
            )

    def over(self) -> list[LeftOut]:
        """The lines left out in intervals that are over, and of kinds beyond `max_kinds`. Forgets both."""
        now_s = self._clock()
        ended: list[_Interval] = []
        with self._lock:
            while self._kinds:
                interval = next(iter(self._kinds.values()))
                if now_s - interval.began_s < self._interval_s and len(self._kinds) <= self._max_kinds:
                    break
                ended.append(self._kinds.popitem(last=False)[1])
        return _left_out(ended, now_s)

    def rest(self) -> list[LeftOut]:
        """The lines left out in all intervals. Forgets them."""
        with self._lock:
            ended = list(self._kinds.values())
            self._kinds.clear()
        return _left_out(ended, self._clock())

    @property
    def next_s(self) -> float | None:
        """Seconds until `over` will return something; None when nothing was left out."""
        with self._lock:
            waiting = [interval.began_s for interval in self._kinds.values() if interval.n_left_out]
        return max(0.0, min(waiting) + self._interval_s - self._clock()) if waiting else None


def _left_out(ended: list[_Interval], now_s: float) -> list[LeftOut]:
    return [LeftOut(one.about, one.n_left_out, now_s - one.began_s) for one in ended if one.n_left_out]


def and_more(n_left_out: int) -> str:
    """The end of a line that reports the lines left out before it."""
    return f" ({n_left_out} more like it since the last such line)" if n_left_out else ""
