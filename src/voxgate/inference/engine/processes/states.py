"""The states of a stateful model that live in a worker process, as the server holds them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from voxgate.inference.engine.base import Pin, State

__all__ = ["RemoteStates"]


class RemoteStates:
    """The states that one worker process keeps: a number stands for each. When the last reference to a `State` goes,
    the worker drops it too.
    """

    def __init__(self, try_drop: Callable[[Sequence[int]], bool]) -> None:
        """`try_drop`: tells the worker to drop states, if that can be done without waiting. Any thread may call it."""
        self.pin = Pin()
        self._try_drop = try_drop
        self._last_number = 0
        self._undropped: deque[int] = deque()
        self._lock = threading.Lock()
        self._is_closed = False

    def number_of(self, state: State) -> int:
        """The number of a state; a new one is pinned to this worker. On the slot's thread."""
        if state.pin is None:
            self._last_number += 1
            state.value = _Number(self._last_number, self._drop)
            state.pin = self.pin
        if state.pin is not self.pin:
            raise AssertionError("the state lives in another worker")
        number: int = state.value.number
        return number

    def take_dropped(self) -> list[int]:
        """The states that the worker does not know yet to be dropped; the caller tells it. On the slot's thread."""
        numbers = []
        while self._undropped:
            numbers.append(self._undropped.popleft())
        return numbers

    def close(self) -> None:
        """The worker has ended. `try_drop` is not called any more."""
        with self._lock:
            self._is_closed = True

    def _drop(self, number: int) -> None:
        """On any thread, perhaps within any call: Python runs finalizers wherever it frees memory."""
        if not self._lock.acquire(blocking=False):
            self._undropped.append(number)
            return
        try:
            if not self._is_closed and not self._try_drop([number]):
                self._undropped.append(number)
        finally:
            self._lock.release()


class _Number:
    """Stands for a state. Tells when it is freed."""

    __slots__ = ("_on_freed", "number")

    def __init__(self, number: int, on_freed: Callable[[int], None]) -> None:
        self.number = number
        self._on_freed = on_freed

    def __del__(self) -> None:
        self._on_freed(self.number)
