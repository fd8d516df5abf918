"""The policy after a lost connection: whether to try again, and when."""

from __future__ import annotations

import email.utils
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import InitVar, dataclass

from .errors import ClientError, ClosedError, ConnectError, RefusedError

__all__ = ["Lost", "Reconnect", "Resumed", "is_worth_another_try", "wait_s"]

_PASSING_CODES = (1001, 1012, 1013)  # going away, restart, try again later
_PASSING_STATUS = (429, 502, 503, 504)


@dataclass(frozen=True)
class Lost:
    """The connection was lost or could not be opened; another attempt follows."""

    error: ClientError
    """The reason."""
    unanswered_s: float
    """Seconds of audio that were sent and not answered; they will be sent again."""
    wait_s: float
    """Seconds until the attempt."""
    attempt: int
    """The number of the attempt that follows, from 1; an answer resets it."""
    attempts: int
    """The maximum of attempts in a row."""


@dataclass(frozen=True)
class Resumed:
    """A new connection is open, and audio is sent from `at_s` on. The times of events continue."""

    at_s: float
    """Seconds from the start of the stream."""
    away_s: float
    """Seconds without a connection."""
    gap_s: float
    """Seconds of audio before `at_s` that get no answer, because they exceeded `backlog_bytes`."""


@dataclass(frozen=True)
class Reconnect:
    """Whether and how to continue after a lost connection, and when a server is full, restarts or sheds the stream.

    The wait before an attempt doubles from `first_wait_s` to `longest_wait_s`, and is never shorter than a Retry-After
    of the server. After `attempts` in a row without an answer, the last error is raised. At most `backlog_bytes` of
    audio are kept for sending again. `on_notice` gets each Lost and Resumed, between the events, in the thread of the
    loop; `told` is its deprecated name. Any number of streams, of any thread, may share one object.

    Raises ValueError unless there is at least one attempt and one byte, and 0 <= `first_wait_s` <= `longest_wait_s`.
    """

    attempts: int = 10
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    backlog_bytes: int = 64 * 1024 * 1024
    on_notice: Callable[[Lost | Resumed], None] | None = None
    told: InitVar[Callable[[Lost | Resumed], None] | None] = None

    def __post_init__(self, told: Callable[[Lost | Resumed], None] | None) -> None:
        if told is not None:
            warnings.warn("Reconnect(told=...) is deprecated: use on_notice", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "on_notice", told)
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, got {self.attempts}")
        if not 0 <= self.first_wait_s <= self.longest_wait_s:
            waits = f"{self.first_wait_s} and {self.longest_wait_s}"
            raise ValueError(f"waits: expected 0 <= first_wait_s <= longest_wait_s, got {waits}")
        if self.backlog_bytes < 1:
            raise ValueError(f"backlog_bytes: expected at least 1, got {self.backlog_bytes}")

    def notify(self, notice: Lost | Resumed) -> None:
        if self.on_notice is not None:
            self.on_notice(notice)


def is_worth_another_try(error: ClientError, was_connected: bool) -> bool:
    """Whether another attempt may succeed. A server that was never reached gets no other attempt."""
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
    """The seconds before `attempt` (from 1): twice as many each time, at least as many as the server asks for, and
    random within a range, so that the clients of a server do not all return at once.
    """
    longest_s = min(reconnect.longest_wait_s, reconnect.first_wait_s * 2.0 ** min(attempt - 1, 30))
    asked_s = _retry_after_s(error.retry_after) if isinstance(error, RefusedError) else 0.0
    return max(asked_s, longest_s * random.uniform(0.5, 1.0))


def _retry_after_s(header: str | None) -> float:
    """The seconds of either form of the header; 0 for no header and one that cannot be read."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
