"""Detects that the event loop does not run, and logs the cause: a model that holds Python's global lock, or the stack
of a slow callback.

A model on a thread that holds the GIL stops everything else in the process: no audio is read, no ping is answered, no
result leaves. From outside, that looks like a slow server.

Two timers run side by side: one on the event loop, one on a thread that does nothing else. When both are late in the
same span, while the process computed but the loop's thread did not, another thread had the GIL; when a model call ran,
it was the model's. A slow callback, a blocking system call on the loop, and a machine that was suspended or overloaded
look different, and are not blamed on the model.

When the loop's own thread does not return to the loop, the other thread logs its stack while the loop is still held.
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
"""A single span without the GIL from this length on is logged."""
_WINDOW_S = 5.0
_SHARE = 0.1
"""From this part of a window on, time spent waiting for the GIL in spans of any length is logged."""
_STACK_FRAMES = 30
"""The number of innermost frames in a logged stack."""
_QUIET_S = 60.0
"""At most one line of a kind in this time."""
_OWN_WORK = 0.5
"""From this part of a span on that the loop's thread computed itself, it is the cause of the delay."""
_IDLE_PROCESS = 0.5
"""Below this part of a span that the process computed at all, the machine is the cause of the delay."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The measurements at one tick of the loop's timer, in seconds of monotonic clocks."""

    now_s: float
    late_s: float
    """The delay of this tick."""
    other_late_s: float
    """The largest delay of the other timer since the last tick."""
    loop_cpu_s: float
    """CPU time of the loop's thread since the process started."""
    process_cpu_s: float
    """CPU time of the whole process since it started."""
    n_running: int
    """Model calls that run now."""
    n_done: int
    """Model calls that have ended since the process started."""


class Starvation:
    """Decides whether a model held the GIL, from ticks alone: the part without threads and clocks."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._before: Beat | None = None
        self._window_from_s = 0.0
        self._starved_s = 0.0
        self._throttle = Throttle(_QUIET_S)
        self.last_s = 0.0
        """The part of the last span in which a model call held the GIL."""

    def beat(self, beat: Beat) -> str | None:
        """A sentence for the log, or None when there is nothing to log, or such a line is less than a minute old."""
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
            f'{complaint}, and every stream waited: set inference.engine = "process"'
            " (or, in a model of your own, holds_gil = True)"
        )

    def _starved(self, before: Beat, beat: Beat) -> float:
        """Seconds between two ticks in which a model call held the GIL."""
        span_s = beat.now_s - before.now_s
        lost_s = min(beat.late_s, beat.other_late_s)
        ran = before.n_running or beat.n_running or beat.n_done != before.n_done
        own_s = beat.loop_cpu_s - before.loop_cpu_s
        computed_s = beat.process_cpu_s - before.process_cpu_s
        if not ran or lost_s <= 0 or own_s >= _OWN_WORK * span_s or computed_s < _IDLE_PROCESS * span_s:
            return 0.0
        return lost_s


class Hold:
    """Decides which holds of the loop are logged: the part without threads and clocks. Of each minute that is
    the first hold, with its stack if the other thread saw it, and a second line at its end.
    """

    def __init__(self, loop_name: str = "the event loop") -> None:
        self._loop_name = loop_name
        self._throttle = Throttle(_QUIET_S)
        self._is_logged = False  # the present hold

    def seen(self, now_s: float, held_s: float, late_s: float, own_s: float) -> str | None:
        """On the other thread, when the loop has not run for `held_s`: the line to log before the stack, or None when
        the stack would not explain the hold or has been logged. `late_s`: the delay of the other timer; `own_s`: CPU
        time of the loop's thread during the hold.
        """
        kept_waiting = late_s >= held_s / 2 and own_s < _OWN_WORK * held_s  # both threads, by a third one
        if held_s < _STALL_S or self._is_logged or kept_waiting or self._throttle.is_quiet(now_s=now_s):
            return None
        self._is_logged = True
        more = and_more(self._throttle.admit(now_s=now_s) or 0)
        return f"{self._loop_name} has been held for {held_s:.2f} s{more}; its thread is at"

    def over(self, now_s: float, held_s: float, own_s: float, by_model: bool) -> str | None:
        """On the loop, at every tick. `by_model`: the model held the GIL, and `Starvation` logs it."""
        is_logged, self._is_logged = self._is_logged, False
        if is_logged and held_s >= _STALL_S:
            return f"{self._loop_name} continues after {held_s:.2f} s"
        if held_s < _STALL_S or by_model:
            return None
        n_left_out = self._throttle.admit(now_s=now_s)
        if n_left_out is None:
            return None
        return (
            f"{self._loop_name} was held for {held_s:.2f} s, of which its own thread computed {own_s:.2f} s; for the"
            f" rest the machine was too busy, or another thread had the GIL{and_more(n_left_out)}"
        )


class Watchdog:
    """Watches one event loop while it serves. `start` and `stop` belong to the loop's thread."""

    def __init__(
        self,
        model_name: str | None,
        calls: Callable[[], tuple[int, int]],
        loop_name: str = "the event loop",
    ) -> None:
        """model_name: of a model whose calls may hold the GIL; None: it runs in other processes, or on this loop.
        calls: returns the number of model calls that run now and of those that have ended; must be cheap. loop_name:
        for the log.
        """
        self._starvation = Starvation(model_name) if model_name is not None else None
        self._calls = calls
        self.lag_s = Histogram(LATENCIES_S)
        """The delays of the loop's timer."""
        self.n_held = 0
        """Ticks that were `_STALL_S` late or more."""
        self._loop_thread = 0
        self._loop_clock = 0
        self._planned_cpu_s = 0.0
        self._hold = Hold(loop_name)
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
        """Has no effect before `start`, or a second time."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def busy_s(self) -> float:
        """CPU time of the loop's thread since it started. Any thread may read it while the loop runs."""
        return time.clock_gettime(self._loop_clock) if self._loop_clock else 0.0

    @property
    def held_s(self) -> float:
        """For how long the loop has been unable to run its timer; 0 before `start`. Any thread."""
        return max(0.0, time.perf_counter() - self._planned_s) if self._timer is not None else 0.0

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._planned_cpu_s = time.thread_time()
        self._planned_s = time.perf_counter() + _BEAT_S
        self._timer = loop.call_later(_BEAT_S, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = time.perf_counter()
        late_s = max(0.0, now_s - self._planned_s)
        self.lag_s.observe(late_s)
        self.n_held += late_s >= _STALL_S
        # The other thread may still wait for the GIL that this one has just got.
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
        except OSError:  # the thread has ended, and the loop with it
            return
        complaint = self._hold.seen(now_s, now_s - self._planned_s, late_s, own_s)
        frame = sys._current_frames().get(self._loop_thread)
        if complaint is not None and frame is not None:
            # Only the lines of code, never the values of variables.
            logger.warning("%s:\n%s", complaint, "".join(traceback.format_stack(frame, _STACK_FRAMES)).rstrip())
