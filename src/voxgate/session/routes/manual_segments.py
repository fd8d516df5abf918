"""Segments that end where the client says so, or when they reach their longest."""

from __future__ import annotations

from voxgate._native.event import INTERIM, SPEECH_CUT, SPEECH_END, SPEECH_START, VadEvent
from voxgate._native.ring import SampleRing
from voxgate.session.routes.calls import Samples

__all__ = ["ManualSegments"]


class ManualSegments:
    """The audio of all channels of one session, cut at each `flush` and nowhere else, except after
    `max_segment_samples`. In place of a VadSession: the same events in the same order, without a detector.

    A segment opens with its first sample, has all audio up to its end, silence included, and is the same on all
    channels. The audio kept is at most that of one segment. Chunking is invisible. One caller at a time.
    """

    def __init__(self, channels: int, max_segment_samples: int, interim_samples: int) -> None:
        """`interim_samples`: from one INTERIM to the next; 0: none."""
        self.received_pos = 0
        """Samples received per channel."""
        self._rings = [SampleRing(max_segment_samples) for _ in range(channels)]
        self._max_segment_samples = max_segment_samples
        self._interim_samples = interim_samples
        self._is_open = False
        self._start_pos = 0
        self._interim_pos = 0  # the next INTERIM is due `interim_samples` after this

    def feed(self, planes: Samples) -> list[VadEvent]:
        """Takes float32 of shape (channels, samples), any number of samples, and returns the events they complete."""
        events: list[VadEvent] = []
        n_samples, taken = planes.shape[1], 0
        while taken < n_samples:
            if not self._is_open:
                self._is_open = True
                self._start_pos = self._interim_pos = self.received_pos
                events += self._on_all(SPEECH_START, self.received_pos, self.received_pos)
            due_pos = self._start_pos + self._max_segment_samples
            if self._interim_samples:
                due_pos = min(due_pos, self._interim_pos + self._interim_samples)
            end = min(n_samples, taken + due_pos - self.received_pos)
            for ring, plane in zip(self._rings, planes, strict=True):
                ring.push(plane[taken:end])
            self.received_pos += end - taken
            taken = end
            if self.received_pos == self._start_pos + self._max_segment_samples:
                events += self._end(SPEECH_CUT)
                self._start_pos = self._interim_pos = self.received_pos
            elif self.received_pos == due_pos:
                self._interim_pos = self.received_pos
                events += self._on_all(INTERIM, self._start_pos, self.received_pos)
        return events

    def flush(self) -> list[VadEvent]:
        """Ends the open segment at `received_pos`; without any audio since the last end, there is none."""
        if not self._is_open:
            return []
        self._is_open = False
        return self._end(SPEECH_END)

    def clear(self) -> list[VadEvent]:
        """Drops the open segment and its audio. Returns no events."""
        self._is_open = False
        for ring in self._rings:
            ring.discard_before(self.received_pos)
        return []

    def read(self, channel: int, start_pos: int, end_pos: int) -> Samples:
        """A copy of audio of the open segment: float32, shape (samples,). IndexError for other audio."""
        return self._rings[channel].read(start_pos, end_pos)

    def speaking(self, channel: int) -> bool:
        """Whether a segment is open."""
        return self._is_open

    def _end(self, kind: int) -> list[VadEvent]:
        events = []
        for channel, ring in enumerate(self._rings):
            audio = ring.read(self._start_pos, self.received_pos) if self._start_pos < self.received_pos else None
            ring.discard_before(self.received_pos)
            events.append(VadEvent(kind, channel, self._start_pos, self.received_pos, audio))
        return events

    def _on_all(self, kind: int, start_pos: int, end_pos: int) -> list[VadEvent]:
        return [VadEvent(kind, channel, start_pos, end_pos) for channel in range(len(self._rings))]
