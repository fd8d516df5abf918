"""The counters that the loop's thread keeps: plain numbers, cheap enough to change for every message."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, Protocol, TypeAlias

from voxgate.protocol.closing import END_REASONS, CloseReason
from voxgate.protocol.machine import ROUTES, Route
from voxgate.protocol.wires import STREAMS, WireName
from voxgate.runtime.histogram import FACTORS, LATENCIES_S, LENGTHS_S, STAGES_S, Histogram

__all__ = [
    *("CODES", "ERRORS", "LIMITS", "OUTCOMES", "REASONS", "LabelCounts", "RouteAudio", "SessionAudio", "Tally"),
    "outcome_of",
]

# Label values. Every other value counts as `other`, so that no client can create a series.
OUTCOMES: Final = (
    "completed",  # all results were sent
    "left",  # the client closed the connection in the middle of a session, or without one
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
    *("streams_per_token", "buffered_audio"),
    *(
        "unauthorized",
        "auth_unavailable",
        "redis",
        "origin",
        "host",
        "not_served",
        "not_found",
        "invalid_request",
        "other",
    ),
)
CODES: Final = (
    *("1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013", "1014"),
    "other",
)
LIMITS: Final = (
    *("buffered_audio_s", "stream_jobs", "unsent_events", "message_bytes", "message_fragments"),
    "recording_bytes",
    *("message_timeout_s", "invalid_messages", "start_timeout_s", "idle_timeout_s", "session_s"),
    *("max_jobs", "total_buffered_audio_s", "upload_bytes", "upload_field_bytes", "upload_spool_bytes", "other"),
)
ERRORS: Final = (
    *("invalid_message", "not_started", "invalid_start", "timeout", "overloaded", "unauthorized"),
    *("inference_failed", "internal"),
    *("invalid_media", "unsupported_media", "truncated_media", "media_limit", "decoder_failed", "other"),
)
STAGES: Final = ("decode", "vad")
KINDS: Final = ("final", "interim")
TURNS: Final = ("finished", "unsure", "unfinished", "late", "failed", "refused", "no_text")
SPECULATIONS: Final = ("made", "used", "wasted", "withdrawn")

NS_PER_S: Final = 1_000_000_000


Stream: TypeAlias = tuple[Route, WireName]


class LabelCounts(dict[str, int]):
    """Counters by label value; a value that is not among `values` counts as `other`."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(values, 0))

    def add(self, value: str, n: int = 1) -> None:
        self[value if value in self else "other"] += n


class SessionAudio(Protocol):
    """The audio of an open session in nanoseconds over all channels, read at every scrape and at its end."""

    @property
    def received_ns(self) -> int: ...
    @property
    def unfinished_ns(self) -> int:
        """Part of `received_ns`: neither answered yet nor found to contain no speech."""
        ...


class RouteAudio:
    """The audio of one route, in nanoseconds over all channels: integers, so that sums are exact."""

    __slots__ = ("abandoned_ns", "received_ns", "sessions")

    def __init__(self) -> None:
        self.received_ns = 0  # of sessions that have ended
        self.abandoned_ns = 0
        self.sessions: set[SessionAudio] = set()  # open ones


class Tally:
    """The counters of one server process. Only the loop's thread changes them; it reads them too, so that all values of
    a scrape are of one moment.

    Two sums hold exactly at any moment: accepted streams are ended streams (of all outcomes) plus open ones; received
    audio is processed, abandoned and unfinished audio.
    """

    def __init__(self) -> None:
        # By route and wire.
        self.accepted: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self.active: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self.ended: dict[Stream, LabelCounts] = {stream: LabelCounts(OUTCOMES) for stream in STREAMS}
        self.ends: dict[Stream, LabelCounts] = {stream: LabelCounts((*END_REASONS, "other")) for stream in STREAMS}
        self.closes = LabelCounts(CODES)
        self.limit_hits = LabelCounts(LIMITS)
        self.errors = LabelCounts(ERRORS)

        # Changed for every message: attributes are cheapest.
        self.binary = array("q", (0, 0))
        """Binary messages received, and their bytes; compiled code adds those of live audio."""
        self.text = array("q", (0, 0))
        """The same of text messages."""
        self.text_out = 0
        self.text_out_bytes = 0
        self.binary_out = 0
        self.binary_out_bytes = 0

        self.audio: dict[str, RouteAudio] = {route: RouteAudio() for route in ROUTES}
        self.segments: dict[tuple[str, str], int] = {(route, kind): 0 for route in ROUTES for kind in KINDS}
        self.interims_superseded = 0
        self.speculations: dict[str, int] = dict.fromkeys(SPECULATIONS, 0)
        self.turns: dict[str, int] = dict.fromkeys(TURNS, 0)
        self.turn_wait_s = 0.0

        self.factors = {stage: Histogram(FACTORS) for stage in STAGES}
        self.stages_s = {stage: Histogram(STAGES_S) for stage in STAGES}
        self.first_interim_s = Histogram(LATENCIES_S)
        self.final_s = Histogram(LATENCIES_S)
        self.send_wait_s = Histogram(LATENCIES_S)
        self.sessions_s: dict[str, Histogram] = {route: Histogram(LENGTHS_S) for route in ROUTES}

    @property
    def text_in(self) -> int:
        return self.text[0]

    @property
    def text_in_bytes(self) -> int:
        return self.text[1]

    @property
    def binary_in(self) -> int:
        return self.binary[0]

    @property
    def binary_in_bytes(self) -> int:
        return self.binary[1]

    def stream_began(self, route: Route, wire: WireName) -> None:
        self.accepted[route, wire] += 1
        self.active[route, wire] += 1

    def stream_ended(self, route: Route, wire: WireName, outcome: str, reason: str, code: int | None) -> None:
        """`reason`: an EndReason. `code`: of the close frame, the server's or the client's; 1006 when there was none;
        None: the stream was no websocket.
        """
        self.active[route, wire] -= 1
        self.ended[route, wire].add(outcome)
        self.ends[route, wire].add(reason)
        if code is not None:
            self.closes.add(str(code))

    def session_began(self, route: str, session: SessionAudio) -> None:
        self.audio[route].sessions.add(session)

    def session_ended(self, route: str, session: SessionAudio, length_s: float) -> None:
        """Audio that is unfinished now is abandoned. Further calls for the same session have no effect."""
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


def outcome_of(reason: CloseReason) -> str:
    """The outcome of a stream that the server closed for `reason`."""
    return _OUTCOMES.get(reason, reason.value)
