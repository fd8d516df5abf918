"""Short rounds of the garbage collector in a process with many streams."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["GarbageRounds"]

COMPLETE_S: Final = 300.0
"""From one complete round to the next, at least."""
GROWTH: Final = 50_000
"""A complete round also follows when there are more than twice as many frozen objects as after the last one, and so
many: those may be cycles.
"""
SECOND_ROUNDS: Final = 0
"""A full round follows after more than so many rounds of the middle generation (Python's default: 10), so it looks at
little more than they do.
"""
_FULL: Final = 2  # the oldest generation


class GarbageRounds:
    """Keeps full rounds short: what has survived one is frozen, so the next looks only at what is new since then.

    A full round looks at every object that is not frozen. 850 streams have 150 000 of them, and all streams wait 25 ms
    until it is over. They leave no cycles behind: Python frees them by their reference counts, frozen or not. Cycles
    among frozen objects, such as those of a model, are freed by a complete round, which looks at everything. One
    follows the first full round that comes COMPLETE_S after the last one, or earlier when what is frozen grows much.

    It changes the collector of the whole process: for a process that does nothing but serve.
    """

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`call_soon` calls a function later, on the thread that may wait for a complete round; any thread calls it. It
        may raise RuntimeError when it is too late for that.
        """
        self._call_soon = call_soon
        self._clock = clock
        self._completed_s = 0.0
        self._is_asked = False
        self._most = 0  # frozen objects, before a complete round follows
        self._n_uncounted = 0  # objects that may be frozen before these are counted
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        """Collects and freezes what there is: modules, the model."""
        self._complete()
        gc.set_threshold(*self._thresholds[:2], SECOND_ROUNDS)
        gc.callbacks.append(self._on_round)

    def stop(self) -> None:
        """From now on the collector works as usual; frozen objects stay frozen. Has no effect before `start`."""
        if self._on_round in gc.callbacks:
            gc.callbacks.remove(self._on_round)
            gc.set_threshold(*self._thresholds)

    def _complete(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        n_frozen = gc.get_freeze_count()
        self._most, self._n_uncounted = 2 * n_frozen + GROWTH, n_frozen + GROWTH
        self._completed_s = self._clock()
        self._is_asked = False

    def _on_round(self, phase: str, info: Mapping[str, Any]) -> None:
        """After each round of the collector, on whichever thread it ran."""
        if phase != "stop" or info["generation"] != _FULL:
            return
        self._n_uncounted -= len(gc.get_objects(_FULL))
        gc.freeze()
        if not self._is_asked and (self._is_large() or self._clock() >= self._completed_s + COMPLETE_S):
            self._is_asked = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                self._call_soon(self._complete)

    def _is_large(self) -> bool:
        """Whether too much is frozen. Counting looks at all of it: it waits until enough was frozen."""
        if self._n_uncounted > 0:
            return False
        n_left = self._most - gc.get_freeze_count()
        self._n_uncounted = max(n_left, self._most // 16)
        return n_left < 0
