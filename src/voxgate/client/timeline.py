"""The time of a stream, which continues over several sessions when connections are lost."""

from __future__ import annotations

from collections import Counter

from msgspec import UNSET
from msgspec.structs import replace

from voxgate.protocol.events import (
    Active,
    Error,
    Event,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
)

from .check import ResultCheck

__all__ = ["Timeline", "without_id"]

_OVERLAP_S = 0.25
"""A detector that starts in the middle of the audio may end an utterance a few frames later than before."""


class Timeline:
    """Moves the events of each session to the stream's time, and knows the time up to which each channel is answered.

    When the channels are answered up to different times, a new session begins at the earliest of them, and its results
    for audio that was answered before are left out.
    """

    def __init__(self, channels: int) -> None:
        self.offset_s = 0.0
        """The stream's time at the beginning of the current session."""
        self.processed_s = 0.0
        """The last progress that the server reported, in the session's time."""
        self.n_left_out = 0
        """Results of the current session that an earlier session had given already."""
        self._answered_s = [0.0] * channels
        self._deferred: dict[int, Active] = {}
        self._resumed = False
        self._first_ids: Counter[int] = Counter()  # of the current session, by channel
        self._next_ids: Counter[int] = Counter()
        self._results = 0
        self._errors = 0

    def answered_s(self, check: ResultCheck) -> list[float]:
        """For each channel, the stream's time up to which every result has arrived; `check`: of the current session."""
        now = check.answered_s(self.processed_s)
        return [max(before, self.offset_s + s) for before, s in zip(self._answered_s, now, strict=True)]

    def resume(self, check: ResultCheck, at_s: float) -> None:
        """A new session begins at `at_s`."""
        self._answered_s = self.answered_s(check)
        self._results, self._errors = check.n_results, check.n_errors
        self.offset_s, self.processed_s, self.n_left_out = at_s, 0.0, 0
        self._deferred.clear()
        self._resumed = True
        self._first_ids = self._next_ids.copy()

    def place(self, event: Event) -> list[Event]:
        """`event` with the stream's times: none when an earlier session gave it, two when one was deferred."""
        if isinstance(event, Progress):
            self.processed_s = event.processed_s
        event = self._numbered(event)
        if not self._resumed:
            return [event]
        event = self._moved(event)
        channel = event.channel
        answered_s = self._answered_s[channel] if channel < len(self._answered_s) else 0.0
        match event:
            case Active(time=time_s) if time_s < answered_s - _OVERLAP_S:
                self._deferred[channel] = event  # repeated, unless the utterance continues after the answered part
                return []
            case Segment(end_time=end_s) if end_s <= answered_s + _OVERLAP_S and event.start_time < answered_s - 0.001:
                self.n_left_out += event.is_final is not False
                return []
            case Inactive(time=time_s) if channel in self._deferred and time_s <= answered_s + _OVERLAP_S:
                del self._deferred[channel]
                return []
            case Inactive() | SpeechResumed() | Segment() if channel in self._deferred:
                return [self._deferred.pop(channel), event]
        return [event]

    def _numbered(self, event: Event) -> Event:
        """The event with a `segment_id` that no earlier session has used."""
        if not isinstance(event, Active | Inactive | SpeechResumed | Segment | Error) or event.segment_id is UNSET:
            return event
        id = event.segment_id + self._first_ids[event.channel]
        self._next_ids[event.channel] = max(self._next_ids[event.channel], id + 1)
        return replace(event, segment_id=id) if self._resumed else event

    def _moved(self, event: Event) -> Event:
        by_s = self.offset_s
        match event:
            case Active() | Inactive() | SpeechResumed():
                return replace(event, time=event.time + by_s)
            case Segment():
                return replace(event, start_time=event.start_time + by_s, end_time=event.end_time + by_s)
            case Probabilities():
                return replace(event, start_time=event.start_time + by_s)
            case Progress():
                return replace(event, received_s=event.received_s + by_s, processed_s=event.processed_s + by_s)
            case Finished():
                return replace(
                    event,
                    received_s=event.received_s + by_s,
                    processed_s=event.processed_s + by_s,
                    results=self._results + event.results - self.n_left_out,
                    errors=self._errors + event.errors,
                )
        return event


def without_id(event: Event) -> Event:
    """`event` without its `segment_id`."""
    if isinstance(event, Active | Inactive | SpeechResumed | Segment | Error) and event.segment_id is not UNSET:
        return replace(event, segment_id=UNSET)
    return event
