"""Notices when the event loop starves because a model holds Python's global lock, and says what to do about it.

A model on a thread that keeps the GIL stops everything else in the process: no audio is read, no ping is answered, no
result leaves. From inside that looks like a slow server, so it is told here by name.

Two hearts beat side by side: one on the event loop, one on a thread that does nothing else. When both miss their beats
in the same span, while the process did compute but the loop's own thread did not, somebody else had the GIL; and when a
model call was running, it was the model. A slow callback of the loop's own, a blocking system call in it, a machine
that was suspended or overloaded look different, and are not blamed on the model.

When it is the loop's own thread that does not come back, the heart beside it looks where that thread is, and the log
gets its stack while the loop is still being held.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from voxgate.runtime.histogram import LATENCIES_S, Histogram
from voxgate.runtime.tasks import spawn_thread
from voxgate.runtime.throttle import Throttle, and_more

__all__ = ["Beat", "Starvation", "Watchdog"]

logger = logging.getLogger("voxgate.runtime.watchdog")

_BEAT_S = 0.05
_STALL_S = 0.25
"""A single span without the GIL that is worth a line in the log."""
_WINDOW_S = 5.0
_SHARE = 0.1
"""Part of a window that went by waiting for the GIL, in spans however short, that is worth a line."""
_STACK_FRAMES = 30
"""Innermost frames of a stack that are shown."""
_QUIET_S = 60.0
"""Time between two lines."""
_OWN_WORK = 0.5
"""Part of a span that the loop's thread computed itself, from which on it has itself to blame."""
_IDLE_PROCESS = 0.5
"""Part of a span that the process computed at all, below which the machine is to blame."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What is known at one beat of the loop's heart; all in seconds, of clocks that only move forward."""

    now_s: float
    late_s: float
    """How much later than planned this beat came."""
    other_late_s: float
    """The most that the other heart has been late since the last beat."""
    loop_cpu_s: float
    """CPU time of the loop's thread since the process started."""
    process_cpu_s: float
    """CPU time of the whole process since it started."""
    n_running: int
    """Model calls that run now."""
    n_done: int
    """Model calls that have ended since the process started."""


class Starvation:
    """Judges beats: the part without threads and clocks."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._before: Beat | None = None
        self._window_from_s = 0.0
        self._starved_s = 0.0
        self._throttle = Throttle(_QUIET_S)
        self.last_s = 0.0
        """Of the span up to the last beat, what a model call took from everybody."""

    def beat(self, beat: Beat) -> str | None:
        """A sentence for the log, or None when all is well, or was said less than a minute ago."""
        before, self._before = self._before, beat
        if before is None:
            self._window_from_s = beat.now_s
            return None
        self.last_s = starved_s = self._starved(before, beat)
        self._starved_s += starved_s
        window_s = beat.now_s - self._window_from_s
        complaint = None
        if starved_s >= _STALL_S:
            complaint = f"model {self._model_name!r} held the GIL for {starved_s:.1f} s"
        elif window_s >= _WINDOW_S and self._starved_s >= _SHARE * window_s:
            complaint = (
                f"model {self._model_name!r} held the GIL so that the server waited for it"
                f" {100 * self._starved_s / window_s:.0f} % of {window_s:.0f} s"
            )
        if window_s >= _WINDOW_S:
            self._window_from_s, self._starved_s = beat.now_s, 0.0
        if complaint is None or self._throttle.admit(now_s=beat.now_s) is None:
            return None
        return (
            f'{complaint}, and every stream stood still: set inference.isolation = "process"'
            " (or holds_gil = True on the model, if it is yours)"
        )

    def _starved(self, before: Beat, beat: Beat) -> float:
        """Seconds of the span between two beats in which a model call kept the GIL from everybody."""
        span_s = beat.now_s - before.now_s
        lost_s = min(beat.late_s, beat.other_late_s)
        ran = before.n_running or beat.n_running or beat.n_done != before.n_done
        own_s = beat.loop_cpu_s - before.loop_cpu_s
        computed_s = beat.process_cpu_s - before.process_cpu_s
        if not ran or lost_s <= 0 or own_s >= _OWN_WORK * span_s or computed_s < _IDLE_PROCESS * span_s:
            return 0.0
        return lost_s


class Hold:
    """Tells of the loop being held: the part without threads and clocks. One is told a minute, with its stack when that
    was seen, and once more when it is over.
    """

    def __init__(self) -> None:
        self._throttle = Throttle(_QUIET_S)
        self._is_told = False  # the hold that goes on now

    def seen(self, now_s: float, held_s: float, late_s: float, own_s: float) -> str | None:
        """From beside the loop, which has not come back for `held_s`: what to say in front of its stack, or None when
        that stack would say nothing, or nothing new. `late_s`: how late the beat beside came itself; `own_s`: what the
        loop's thread has computed meanwhile.
        """
        kept_waiting = late_s >= held_s / 2 and own_s < _OWN_WORK * held_s  # like the loop, by somebody else
        if held_s < _STALL_S or self._is_told or kept_waiting or self._throttle.is_quiet(now_s=now_s):
            return None
        self._is_told = True
        more = and_more(self._throttle.admit(now_s=now_s) or 0)
        return f"the event loop has been held for {held_s:.2f} s{more}; its thread is at"

    def over(self, now_s: float, held_s: float, own_s: float, by_model: bool) -> str | None:
        """From the loop, at every beat. `by_model`: the hold is told of by another name."""
        is_told, self._is_told = self._is_told, False
        if is_told and held_s >= _STALL_S:
            return f"the event loop goes on after {held_s:.2f} s"
        if held_s < _STALL_S or by_model:
            return None
        n_left_out = self._throttle.admit(now_s=now_s)
        if n_left_out is None:
            return None
        return (
            f"the event loop was held for {held_s:.2f} s, {own_s:.2f} s of which its own thread computed; for the rest"
            f" the machine was too busy, or another thread had Python's lock{and_more(n_left_out)}"
        )


class Watchdog:
    """Watches one event loop while it serves. Made, started and stopped on the loop's thread."""

    def __init__(self, model_name: str | None, calls: Callable[[], tuple[int, int]]) -> None:
        """model_name: of a model on threads of this process; None: it runs elsewhere, and holds no GIL of ours. calls:
        how many model calls run at this moment, and how many have ended so far; must be cheap.
        """
        self._starvation = Starvation(model_name) if model_name is not None else None
        self._calls = calls
        self.lag_s = Histogram(LATENCIES_S)
        """By how much the beats of the loop's heart came late."""
        self.n_held = 0
        """Beats that came `_STALL_S` late or more."""
        self._loop_thread = 0
        self._loop_clock = 0
        self._planned_cpu_s = 0.0
        self._hold = Hold()
        self._stopped = threading.Event()
        self._most_late_s = 0.0
        self._other_planned_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._planned_s = 0.0

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._loop_clock = time.pthread_getcpuclockid(self._loop_thread)
        self._plan(loop)
        self._other_planned_s = self._planned_s
        spawn_thread(self._beat_beside, "voxgate-watchdog", daemon=True, subsystem="watchdog")

    def stop(self) -> None:
        """Harmless when it was never started, or twice."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def busy_s(self) -> float:
        """CPU time of the loop's thread since it started; while the loop runs, from any thread."""
        return time.clock_gettime(self._loop_clock) if self._loop_clock else 0.0

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._planned_cpu_s = time.thread_time()
        self._planned_s = time.perf_counter() + _BEAT_S
        self._timer = loop.call_later(_BEAT_S, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = time.perf_counter()
        late_s = max(0.0, now_s - self._planned_s)
        self.lag_s.observe(late_s)
        self.n_held += late_s >= _STALL_S
        # The other heart may still be waiting for the GIL that this one has just got.
        other_late_s, self._most_late_s = max(self._most_late_s, now_s - self._other_planned_s), 0.0
        if self._starvation is not None:
            complaint = self._starvation.beat(
                Beat(
                    now_s,
                    now_s - self._planned_s,
                    other_late_s,
                    time.thread_time(),
                    time.process_time(),
                    *self._calls(),
                )
            )
            if complaint is not None:
                logger.warning("%s", complaint)
        own_s = time.thread_time() - self._planned_cpu_s
        by_model = self._starvation is not None and self._starvation.last_s >= late_s / 2
        complaint = self._hold.over(now_s, late_s, own_s, by_model)
        if complaint is not None:
            logger.warning("%s", complaint)
        self._plan(loop)

    def _beat_beside(self) -> None:
        while not self._stopped.wait(_BEAT_S):
            now_s = time.perf_counter()
            late_s = now_s - self._other_planned_s
            self._most_late_s = max(self._most_late_s, late_s)
            if now_s - self._planned_s >= _STALL_S:
                self._look(now_s, late_s)
                now_s = time.perf_counter()
            self._other_planned_s = now_s + _BEAT_S

    def _look(self, now_s: float, late_s: float) -> None:
        try:
            own_s = time.clock_gettime(self._loop_clock) - self._planned_cpu_s
        except OSError:  # The thread is gone, and the loop with it.
            return
        complaint = self._hold.seen(now_s, now_s - self._planned_s, late_s, own_s)
        frame = sys._current_frames().get(self._loop_thread)
        if complaint is not None and frame is not None:
            # Where it is, and never what the variables hold.
            logger.warning("%s:\n%s", complaint, "".join(traceback.format_stack(frame, _STACK_FRAMES)).rstrip())
