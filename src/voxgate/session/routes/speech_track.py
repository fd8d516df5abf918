"""The probability of speech in every frame, for clients that ask for it."""

from __future__ import annotations

import numpy as np

from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession
from voxgate.protocol.events import Probabilities
from voxgate.session.routes.calls import Samples
from voxgate.session.routes.reorder import Emit

__all__ = ["SpeechTrack"]

PROBABILITIES_S = 0.125
"""Audio that one event with probabilities covers: a display that moves eight times a second looks smooth."""


class SpeechTrack:
    """Feeds a VadSession frame by frame, because it knows only the probability of its last frame, and emits them. The
    events of the session are the same as those of feeding it at once.
    """

    def __init__(self, session: VadSession, rate: int, emit: Emit) -> None:
        """`session`: nobody else feeds it. `rate`: Hz, of its audio."""
        self._session = session
        self._rate = rate
        self._emit = emit
        self._frame_samples = session.config.frame_samples
        self._frames_per_event = max(1, round(PROBABILITIES_S * rate / self._frame_samples))
        self._unsent: list[list[float]] = [[] for _ in range(session.channels)]
        self._frames_pos = 0  # the end of the last whole frame
        self._rest: Samples | None = None  # what came while the session waited for an answer

    def feed(self, planes: Samples) -> list[VadEvent]:
        """Takes float32 of shape (channels, samples); returns the events of the session. While the session waits for
        an answer, it takes nothing; the rest of the audio is kept for the next call.
        """
        events: list[VadEvent] = []
        if self._rest is not None:
            planes, self._rest = np.concatenate([self._rest, planes], axis=1), None
        n_samples, begin = planes.shape[1], 0
        while begin < n_samples:
            if self._session.waits_for_answer:
                self._rest = planes[:, begin:].copy()
                break
            end = min(n_samples, begin + self._frames_pos + self._frame_samples - self._session.received_pos)
            events += self._session.feed(planes[:, begin:end])
            begin = end
            if self._session.received_pos - self._frames_pos == self._frame_samples:
                self._add_frame()
        return events

    def finish(self) -> list[VadEvent]:
        """Finishes the session, emits the rest, and returns the session's events. None of its audio may be kept."""
        assert self._rest is None, "audio is kept for an answer"
        events = self._session.finish()
        if self._frames_pos < self._session.received_pos:  # The last, partial frame.
            self._add_frame()
        self._send()
        return events

    def _add_frame(self) -> None:
        for channel, values in enumerate(self._unsent):
            values.append(self._session.last_probability(channel))
        self._frames_pos += self._frame_samples
        if len(self._unsent[0]) >= self._frames_per_event:
            self._send()

    def _send(self) -> None:
        for channel, values in enumerate(self._unsent):
            if values:
                start_pos = self._frames_pos - len(values) * self._frame_samples
                step_s = self._frame_samples / self._rate
                self._emit(Probabilities(start_pos / self._rate, step_s, values, channel))
        self._unsent = [[] for _ in self._unsent]
