"""The frames that one turn of the event loop brought, heard together.

A server with many streams reads many sockets in one turn of its loop. What the detector has to look at of them is
gathered, and looked at when the turn is over: the network's weights are fetched into the core's cache once for all of
them, and not once for each. The busier the server, the more come together and the less one costs; on a quiet one a
frame waits some microseconds for nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from voxgate._native.session import VadEvent, VadSession, hear

# In one go: about a millisecond of work.
MOST_SESSIONS = 256

Outcome = list[VadEvent] | BaseException
OnFrames = Callable[[Outcome], None]


class VadBatcher:
    """Of one server process. Everything on the thread of its event loop."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon`: the event loop's."""
        self._call_soon = call_soon
        self.callbacks: dict[VadSession, OnFrames] = {}
        """Of the sessions that wait. Compiled code adds to it as `add` does."""
        self.share_s = 0.0
        """How long the detector took for each session the last time."""

    def add(self, session: VadSession, on_frames: OnFrames) -> None:
        """`on_frames` is given what comes of the frames that wait in `session`, if anything does; it must not raise."""
        is_first = not self.callbacks
        self.callbacks[session] = on_frames
        if is_first:
            self.schedule()

    def schedule(self) -> None:
        self._call_soon(self._hear)

    def discard(self, session: VadSession) -> None:
        """Nobody wants to know any more."""
        self.callbacks.pop(session, None)

    def _hear(self) -> None:
        waiting = self.callbacks
        if not waiting:
            return  # they are gone
        if len(waiting) <= MOST_SESSIONS:
            callbacks = waiting.copy()
            waiting.clear()
        else:
            callbacks = {session: waiting.pop(session) for session in list(islice(waiting, MOST_SESSIONS))}
            self.schedule()
        sessions = list(callbacks)
        began_s = time.perf_counter()
        outcomes = hear(sessions)
        self.share_s = (time.perf_counter() - began_s) / len(sessions)
        for session, outcome in outcomes:
            callbacks[session](outcome)
