"""Batches the detector over the frames that arrive in one turn of the event loop.

A server with many streams reads many sockets in one turn. The batcher collects the sessions whose frames are complete,
and steps their detectors together at the end of the turn, so that the weights of the network are loaded into the core's
cache once and not once per frame. The busier the server, the larger the batch and the cheaper a frame; on a quiet
server a frame waits some microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions

# Sessions of one step: about a millisecond of work.
MOST_SESSIONS = 256

Outcome = list[VadEvent] | BaseException
OnFrames = Callable[[Outcome], None]


class VadBatcher:
    """One per server process. Thread: that of the event loop alone."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`call_soon`: that of the event loop."""
        self._call_soon = call_soon
        self.callbacks: dict[VadSession, OnFrames] = {}
        """Of the sessions that wait. Compiled code adds to it as `add` does."""
        self.share_s = 0.0
        """The time of the last step, divided by its sessions, in seconds."""

    def add(self, session: VadSession, on_frames: OnFrames) -> None:
        """Step the waiting frames of `session` in this turn. `on_frames` gets its events, if there are any, or the
        exception of a failure; it must not raise.
        """
        is_first = not self.callbacks
        self.callbacks[session] = on_frames
        if is_first:
            self.schedule()

    def schedule(self) -> None:
        """Have the waiting sessions stepped in this turn of the event loop."""
        self._call_soon(self._step)

    def discard(self, session: VadSession) -> None:
        """Drop the session and its callback."""
        self.callbacks.pop(session, None)

    def _step(self) -> None:
        waiting = self.callbacks
        if not waiting:
            return  # all were discarded
        if len(waiting) <= MOST_SESSIONS:
            callbacks = waiting.copy()
            waiting.clear()
        else:
            callbacks = {session: waiting.pop(session) for session in list(islice(waiting, MOST_SESSIONS))}
            self.schedule()
        sessions = list(callbacks)
        began_s = time.perf_counter()
        outcomes = step_sessions(sessions)
        self.share_s = (time.perf_counter() - began_s) / len(sessions)
        for session, outcome in outcomes:
            callbacks[session](outcome)
