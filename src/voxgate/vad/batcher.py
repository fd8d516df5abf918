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

from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions

# In one go: about a millisecond of work.
MOST_SESSIONS = 256

Outcome = list[VadEvent] | BaseException
OnFrames = Callable[[Outcome], None]


class VadBatcher:
    """Of one server process. Everything on the thread of its event loop."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon`: the event loop's."""
        self._call_soon = call_soon
        self._on_frames: dict[VadSession, OnFrames] = {}
        self.share_s = 0.0
        """How long the detector took for each session the last time."""

    def add(self, session: VadSession, on_frames: OnFrames) -> None:
        """`on_frames` is given what comes of the frames that wait in `session`, if anything does; it must not raise."""
        is_first = not self._on_frames
        self._on_frames[session] = on_frames
        if is_first:
            self._call_soon(self._hear)

    def discard(self, session: VadSession) -> None:
        """Nobody wants to know any more."""
        self._on_frames.pop(session, None)

    def _hear(self) -> None:
        sessions = list(islice(self._on_frames, MOST_SESSIONS))
        if not sessions:
            return  # they are gone
        callbacks = {session: self._on_frames.pop(session) for session in sessions}
        if self._on_frames:
            self._call_soon(self._hear)
        began_s = time.perf_counter()
        outcomes = step_sessions(sessions)
        self.share_s = (time.perf_counter() - began_s) / len(sessions)
        for session, outcome in outcomes:
            callbacks[session](outcome)
