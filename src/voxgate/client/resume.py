"""After a lost connection: whether to try again, when, from where, and what has been answered already."""

from __future__ import annotations

import email.utils
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from voxgate.protocol.events import Active, Error, Event, Finished, Inactive, Probabilities, Progress, Segment

from .check import ResultCheck
from .errors import ClientError, ClosedError, ConnectError, RefusedError

__all__ = ["Lost", "Reconnect", "Resumed", "Timeline", "wait_s", "without_id", "worth_another_try"]

_PASSING_CODES = (1001, 1012, 1013)  # going away, restart, try again later
_PASSING_STATUS = (429, 502, 503, 504)
_OVERLAP_S = 0.25
"""A detector that starts in the middle of the audio may set the end of an utterance a few frames later than before."""


@dataclass(frozen=True)
class Lost:
    """The connection is gone, or could not be made; another attempt follows."""

    error: ClientError
    """What went wrong."""
    unanswered_s: float
    """Seconds of audio that were sent and have no answer yet; they will be sent again."""
    wait_s: float
    """Seconds until the attempt."""
    attempt: int
    """The attempt that follows, from 1; it is again 1 once something was answered."""
    attempts: int
    """How many there may be in a row."""


@dataclass(frozen=True)
class Resumed:
    """The connection is there again; audio is sent from `at_s` on. Times of events go on as if nothing had happened."""

    at_s: float
    """Seconds from the start of the stream."""
    away_s: float
    """Seconds without a connection."""
    gap_s: float
    """Seconds of audio before `at_s` that nobody will answer, because no more than `backlog_bytes` were kept."""


@dataclass(frozen=True)
class Reconnect:
    """How hard to try when the connection is lost, or a server is full, restarts or sheds the stream.

    The wait before an attempt doubles from `first_wait_s` to `longest_wait_s`; a Retry-After of the server is
    honoured. After `attempts` in a row without an answer the error is raised that the last one met. At most
    `backlog_bytes` of audio are kept for sending again. `told` hears of each Lost and Resumed, between the events, in
    the thread of the loop. ValueError unless there is at least one attempt and one byte, and 0 <= `first_wait_s` <=
    `longest_wait_s`. Shared by any number of streams, of any thread.
    """

    attempts: int = 10
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    backlog_bytes: int = 64 * 1024 * 1024
    told: Callable[[Lost | Resumed], None] | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, got {self.attempts}")
        if not 0 <= self.first_wait_s <= self.longest_wait_s:
            waits = f"{self.first_wait_s} and {self.longest_wait_s}"
            raise ValueError(f"waits: expected 0 <= first_wait_s <= longest_wait_s, got {waits}")
        if self.backlog_bytes < 1:
            raise ValueError(f"backlog_bytes: expected at least 1, got {self.backlog_bytes}")

    def tell(self, notice: Lost | Resumed) -> None:
        if self.told is not None:
            self.told(notice)


def worth_another_try(error: ClientError, was_connected: bool) -> bool:
    """Whether what went wrong may pass by itself. A server that was never there is not waited for."""
    match error:
        case ClosedError(received_code=None):
            return error.lost
        case ClosedError(received_code=code):
            return code in _PASSING_CODES
        case RefusedError(status=status):
            return status in _PASSING_STATUS
        case ConnectError():
            return was_connected
    return False


def wait_s(reconnect: Reconnect, error: ClientError, attempt: int) -> float:
    """How long to wait before `attempt` (from 1): twice as long each time, never shorter than the server asks, and with
    some chance in it, so that the clients of a server do not all come back at once.
    """
    longest_s = min(reconnect.longest_wait_s, reconnect.first_wait_s * 2.0 ** min(attempt - 1, 30))
    asked_s = _retry_after_s(error.retry_after) if isinstance(error, RefusedError) else 0.0
    return max(asked_s, longest_s * random.uniform(0.5, 1.0))


def without_id(event: Event) -> Event:
    if isinstance(event, Active | Inactive | Segment | Error) and event.segment_id is not UNSET:
        return replace(event, segment_id=UNSET)
    return event


def _retry_after_s(header: str | None) -> float:
    """Seconds, from either form of the header; 0 when there is none that can be read."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0


class Timeline:
    """Where the sessions of one stream lie on the stream's clock, and up to where each channel has been answered.

    Where the channels of a stream were answered up to different times, the new session begins at the earliest of them,
    and what it says about audio that was answered before is left out.
    """

    def __init__(self, channels: int) -> None:
        self.offset_s = 0.0
        """The stream's time at which the present session began."""
        self.processed_s = 0.0
        """The server's word, in the session's time."""
        self.n_left_out = 0
        """Results of the present session which the session before had given."""
        self._answered_s = [0.0] * channels
        self._held: dict[int, Active] = {}
        self._resumed = False
        self._first_ids: Counter[int] = Counter()  # by channel: of the present session
        self._next_ids: Counter[int] = Counter()
        self._results = 0
        self._errors = 0

    def answered_s(self, check: ResultCheck) -> list[float]:
        """For each channel the stream's time up to which nothing is owed; `check` is that of the present session."""
        now = check.answered_s(self.processed_s)
        return [max(before, self.offset_s + s) for before, s in zip(self._answered_s, now, strict=True)]

    def resume(self, check: ResultCheck, at_s: float) -> None:
        """A new session begins at `at_s`."""
        self._answered_s = self.answered_s(check)
        self._results, self._errors = check.n_results, check.n_errors
        self.offset_s, self.processed_s, self.n_left_out = at_s, 0.0, 0
        self._held.clear()
        self._resumed = True
        self._first_ids = self._next_ids.copy()

    def place(self, event: Event) -> list[Event]:
        """`event` with the stream's times; nothing when it was there before, more than one when one was held back."""
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
                self._held[channel] = event  # known before, unless it goes on beyond what was answered
                return []
            case Segment(end_time=end_s) if end_s <= answered_s + _OVERLAP_S and event.start_time < answered_s - 0.001:
                self.n_left_out += event.is_final is not False
                return []
            case Inactive(time=time_s) if channel in self._held and time_s <= answered_s + _OVERLAP_S:
                del self._held[channel]
                return []
            case Inactive() | Segment() if channel in self._held:
                return [self._held.pop(channel), event]
        return [event]

    def _numbered(self, event: Event) -> Event:
        """With a `segment_id` that no earlier session has used."""
        if not isinstance(event, Active | Inactive | Segment | Error) or event.segment_id is UNSET:
            return event
        id = event.segment_id + self._first_ids[event.channel]
        self._next_ids[event.channel] = max(self._next_ids[event.channel], id + 1)
        return replace(event, segment_id=id) if self._resumed else event

    def _moved(self, event: Event) -> Event:
        by_s = self.offset_s
        match event:
            case Active() | Inactive():
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
