"""Replies in audio order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from voxgate.protocol.events import Error, Event, Segment

__all__ = ["Emit", "PendingReply", "ReorderBuffer"]

Emit: TypeAlias = Callable[[Event], bool | None]
"""Returns True when the wire cannot carry the event: an error took its place, or, for an interim, nothing."""


class PendingReply:
    """A place in the order of a channel's replies."""

    __slots__ = ("event", "is_settled", "since_s")

    def __init__(self, since_s: float) -> None:
        """`since_s`: when it was reserved, by `time.perf_counter`."""
        self.event: Event | None = None
        self.is_settled = False
        self.since_s = since_s


class ReorderBuffer:
    """The replies of one channel: reserved in audio order, settled in any order, emitted in audio order. One thread."""

    def __init__(self, emit: Emit, on_emitted: Callable[[Event, PendingReply], None] | None = None) -> None:
        """`on_emitted`: called after `emit`, for every event that the wire carries."""
        self._emit = emit
        self._on_emitted = on_emitted
        self._pending: deque[PendingReply] = deque()
        self.n_results = 0
        """Settled results that were emitted."""
        self.n_errors = 0
        """Settled errors, and those in place of results."""

    def __len__(self) -> int:
        """The number of replies that were reserved and not yet emitted."""
        return len(self._pending)

    def reserve(self) -> PendingReply:
        """The next place in the order."""
        reply = PendingReply(time.perf_counter())
        self._pending.append(reply)
        return reply

    def is_first(self, reply: PendingReply) -> bool:
        """Whether `reply` comes next in the order, and is not settled."""
        return bool(self._pending) and self._pending[0] is reply

    def emit_interim(self, reply: PendingReply, event: Event) -> None:
        """Emits an interim result of the call behind `reply`, which is the first in the order and keeps its place."""
        if not self.is_first(reply):
            raise AssertionError("an interim result overtakes another reply")
        self._emit(event)

    def settle(self, reply: PendingReply, event: Event | None) -> None:
        """Puts `event` at the place of `reply`, and emits what is now first in the order; None leaves the place
        empty.
        """
        reply.event, reply.is_settled = event, True
        pending = self._pending
        while pending and pending[0].is_settled:
            reply = pending.popleft()
            event = reply.event
            if event is None:
                continue
            is_lost = self._emit(event) is True
            if isinstance(event, Segment):
                self.n_results += not is_lost
                self.n_errors += is_lost and event.is_final is not False
            elif isinstance(event, Error):
                self.n_errors += 1
            if self._on_emitted is not None and not is_lost:
                self._on_emitted(event, reply)
