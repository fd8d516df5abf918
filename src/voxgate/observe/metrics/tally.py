"""What the event loop's thread counts while it serves: plain numbers, cheap enough to be kept for every message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from voxgate.protocol.closing import END_REASONS, Close, CloseReason
from voxgate.protocol.machine import ROUTES
from voxgate.runtime.histogram import FACTORS, LATENCIES_S, LENGTHS_S, STAGES_S, Histogram

__all__ = ["CODES", "ERRORS", "LIMITS", "OUTCOMES", "REASONS", "Session", "Tally", "outcome_of"]

# Label values. What is not among them is counted as `other`: no client can make a series.
OUTCOMES: Final = (
    "completed",  # everything that was owed was sent
    "left",  # the client went in the middle of a session, or without one
    "timeout",
    "invalid",
    "unauthorized",
    "overloaded",
    "drained",
    "failed",
    "other",
)
REASONS: Final = (
    *("not_ready", "draining", "streams", "streams_per_address", "pending_streams", "queue_wait"),
    *("buffered_audio",),
    *("unauthorized", "auth_unavailable", "origin", "host", "not_served", "not_found", "other"),
)
CODES: Final = (
    *("1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014"),
    "other",
)
LIMITS: Final = (
    *("buffered_audio_s", "stream_jobs", "unsent_events", "message_bytes", "message_fragments"),
    *("message_timeout_s", "invalid_messages", "start_timeout_s", "idle_timeout_s", "session_s"),
    *("max_jobs", "total_buffered_audio_s", "other"),
)
ERRORS: Final = (
    *("invalid_message", "not_started", "invalid_start", "timeout", "overloaded", "unauthorized"),
    *("inference_failed", "internal", "other"),
)
STAGES: Final = ("decode", "vad")
KINDS: Final = ("final", "interim")

NS_PER_S: Final = 1_000_000_000


class Counts(dict[str, int]):
    """Counters by label value; a value that nobody announced counts as `other`."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(values, 0))

    def add(self, value: str, n: int = 1) -> None:
        self[value if value in self else "other"] += n


class Session(Protocol):
    """What is asked of an open session at a scrape, and at its end. All in nanoseconds of audio, over all channels."""

    @property
    def received_ns(self) -> int: ...
    @property
    def unfinished_ns(self) -> int:
        """Of it, what is neither answered nor found to hold no speech; at most `received_ns`."""
        ...


class Audio:
    """Audio of one route in nanoseconds, over all channels: whole numbers, so that sums are exact."""

    __slots__ = ("abandoned_ns", "received_ns", "sessions")

    def __init__(self) -> None:
        self.received_ns = 0  # of sessions that have ended
        self.abandoned_ns = 0
        self.sessions: set[Session] = set()  # open ones


class Tally:
    """The counters of one server process. Written on the loop's thread alone; read there too, so that every reading
    is of one moment.

    Two laws hold at any moment, exactly: streams accepted are those that ended (of all outcomes) and those that are
    open; audio received is what is processed, abandoned or unfinished.
    """

    def __init__(self) -> None:
        self.accepted: dict[str, int] = dict.fromkeys(ROUTES, 0)
        self.active: dict[str, int] = dict.fromkeys(ROUTES, 0)
        self.ended: dict[str, Counts] = {route: Counts(OUTCOMES) for route in ROUTES}
        self.ends: dict[str, Counts] = {route: Counts((*END_REASONS, "other")) for route in ROUTES}
        self.closes = Counts(CODES)
        self.limit_hits = Counts(LIMITS)
        self.errors = Counts(ERRORS)

        # Added to for every message: attributes, which cost least.
        self.text_in = 0
        self.binary_in = 0
        self.text_out = 0
        self.text_in_bytes = 0
        self.binary_in_bytes = 0
        self.text_out_bytes = 0
        self.binary_out = 0
        self.binary_out_bytes = 0

        self.audio: dict[str, Audio] = {route: Audio() for route in ROUTES}
        self.segments: dict[tuple[str, str], int] = {(route, kind): 0 for route in ROUTES for kind in KINDS}
        self.interims_superseded = 0

        self.factors = {stage: Histogram(FACTORS) for stage in STAGES}
        self.stages_s = {stage: Histogram(STAGES_S) for stage in STAGES}
        self.first_interim_s = Histogram(LATENCIES_S)
        self.final_s = Histogram(LATENCIES_S)
        self.send_wait_s = Histogram(LATENCIES_S)
        self.sessions_s: dict[str, Histogram] = {route: Histogram(LENGTHS_S) for route in ROUTES}

    def stream_began(self, route: str) -> None:
        self.accepted[route] += 1
        self.active[route] += 1

    def stream_ended(self, route: str, outcome: str, reason: str, code: int | None) -> None:
        """`reason`: an EndReason. `code`: the websocket's close code, the server's or the client's; 1006: there was no
        close frame; None: the stream was no websocket.
        """
        self.active[route] -= 1
        self.ended[route].add(outcome)
        self.ends[route].add(reason)
        if code is not None:
            self.closes.add(str(code))

    def session_began(self, route: str, session: Session) -> None:
        self.audio[route].sessions.add(session)

    def session_ended(self, route: str, session: Session, length_s: float) -> None:
        """Whatever is unfinished now is abandoned. A session ends once; further calls do nothing."""
        audio = self.audio[route]
        if session in audio.sessions:
            audio.sessions.remove(session)
            audio.received_ns += session.received_ns
            audio.abandoned_ns += session.unfinished_ns
            self.sessions_s[route].observe(length_s)


_OUTCOMES: Final = {
    CloseReason.TOO_LARGE: "invalid",
    CloseReason.DRAINING: "drained",
    CloseReason.INTERNAL: "failed",
}


def outcome_of(close: Close) -> str:
    """The outcome of a stream that the server closed."""
    return _OUTCOMES.get(close.reason, close.reason.value)
