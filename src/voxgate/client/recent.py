"""The last events of a stream, for its error: bounded memory for a stream of any length."""

from __future__ import annotations

from collections import deque

from voxgate.protocol.events import Event

__all__ = ["RecentEvents"]

MAX_BYTES = 16 * 1024 * 1024


class RecentEvents:
    """Keeps the last events, at most `max_bytes` on the wire, and always the last one."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._events: deque[tuple[Event, int]] = deque()
        self._n_bytes = 0

    def add(self, event: Event, n_bytes: int) -> None:
        self._events.append((event, n_bytes))
        self._n_bytes += n_bytes
        while self._n_bytes > self._max_bytes and len(self._events) > 1:
            self._n_bytes -= self._events.popleft()[1]

    def all(self) -> tuple[Event, ...]:
        return tuple(event for event, _ in self._events)
