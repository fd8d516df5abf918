"""What a server answers, as frozen typed structs, on no wire in particular."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from voxgate.protocol.formats import MediaFormat

__all__ = [
    "Active",
    "Data",
    "Draining",
    "Error",
    "Event",
    "Finished",
    "Flushed",
    "Inactive",
    "Probabilities",
    "Progress",
    "Segment",
    "SpeechResumed",
    "Started",
    "UnknownEvent",
]


class Active(Struct, frozen=True, gc=False):
    """Speech began. ``time`` in seconds since the session began; ``segment_id`` of the segment that it begins."""

    type: ClassVar[str] = "active"
    time: float
    channel: int = 0
    segment_id: int | UnsetType = UNSET


class Inactive(Struct, frozen=True, gc=False):
    """Speech ended. ``time`` in seconds since the session began; ``segment_id`` of the segment that it ends."""

    type: ClassVar[str] = "inactive"
    time: float
    channel: int = 0
    segment_id: int | UnsetType = UNSET


class SpeechResumed(Struct, frozen=True, gc=False):
    """Speech went on after an eager result, which is therefore void. ``time`` in seconds since the session began."""

    type: ClassVar[str] = "resumed"
    time: float
    channel: int = 0
    segment_id: int | UnsetType = UNSET


class Error(Struct, frozen=True, gc=False):
    """Something failed. ``code`` is that of an error class; it is empty when the server does not send codes.

    ``segment_id`` is that of the result in whose place the error stands; UNSET in other errors.
    """

    type: ClassVar[str] = "error"
    message: str
    code: str = ""
    channel: int = 0
    segment_id: int | UnsetType = UNSET


class Flushed(Struct, frozen=True, gc=False):
    """A flush of the client is complete: every result for audio before it was sent. Once for each channel, in the order
    of its results. The native wire has no message for it.
    """

    type: ClassVar[str] = "flushed"
    channel: int = 0


class Segment(Struct, frozen=True):
    """A result for the audio from ``start_time`` to ``end_time`` (seconds since the start of the session).

    ``is_final`` is UNSET on routes that know no interims. ``output`` is what the model returned. ``stable_text``: of an
    interim, the beginning of its text that later interims repeat; UNSET unless the client asked for it.
    ``eager``: True in the result of a segment that has probably ended, which its final or a SpeechResumed follows;
    otherwise UNSET. ``turn_probability``: of a final or an eager result, that the speaker had finished, as the turn
    detector said in the silence after it; UNSET unless the client asked for it, and when there was no answer.
    """

    type: ClassVar[str] = "segment"
    start_time: float
    end_time: float
    is_final: bool | UnsetType
    output: Mapping[str, Any]
    channel: int = 0
    segment_id: int | UnsetType = UNSET
    stable_text: str | UnsetType = UNSET
    eager: bool | UnsetType = UNSET
    turn_probability: float | UnsetType = UNSET


class Data(Struct, frozen=True):
    """A result without bounds. ``output`` is what the model returned."""

    type: ClassVar[str] = "data"
    output: Mapping[str, Any]
    channel: int = 0


class Probabilities(Struct, frozen=True):
    """How probable speech was, frame by frame: what the voice-activity detection decided by.

    Frame ``i`` of ``values`` (0..1) begins ``i * step_s`` seconds after ``start_time``, which is in seconds since the
    start of the session.
    """

    type: ClassVar[str] = "probabilities"
    start_time: float
    step_s: float
    values: Sequence[float]
    channel: int = 0


class Started(Struct, frozen=True):
    """Notice: the session is open. ``limits`` are those of the server that concern the client, by name. ``trace_id`` is
    that of the W3C trace the session belongs to, None when it belongs to none. ``format``: of the audio in a container;
    None for PCM. ``options_schema`` is the JSON Schema of the model's options, None when it takes none.
    ``turn_detector`` is the name of the detector that ends segments here, None when silence alone does.
    """

    type: ClassVar[str] = "started"
    session_id: str
    model: str
    limits: Mapping[str, Any]
    channel: int = 0
    trace_id: str | None = None
    format: MediaFormat | None = None
    options_schema: Mapping[str, Any] | None = None
    turn_detector: str | None = None


class Progress(Struct, frozen=True, gc=False):
    """Notice, about once a second: how far the session is.

    Audio received, and of it done with (answered, or found to hold no speech), in seconds; ``lag_s`` of it wait for the
    model or are in it, which an utterance that goes on does not. ``real_time_factor`` is processing time per audio time
    (below 1 keeps up).
    """

    type: ClassVar[str] = "progress"
    received_s: float
    processed_s: float
    lag_s: float
    real_time_factor: float
    channel: int = 0


class Finished(Struct, frozen=True, gc=False):
    """Notice: the session is over and everything owed was sent. Seconds of audio and counts of events sent."""

    type: ClassVar[str] = "finished"
    received_s: float
    processed_s: float
    results: int
    errors: int
    channel: int = 0


class Draining(Struct, frozen=True, gc=False):
    """Notice: the server shuts down; the session may finish within ``grace_s`` seconds."""

    type: ClassVar[str] = "draining"
    grace_s: float
    channel: int = 0


class UnknownEvent(Struct, frozen=True):
    """An event of a type this version does not know: a client may skip it. ``fields`` is the whole message."""

    type: str
    fields: Mapping[str, Any]
    channel: int = 0


#: What a server sends.
Event: TypeAlias = (
    Active
    | Inactive
    | SpeechResumed
    | Error
    | Segment
    | Data
    | Probabilities
    | Flushed
    | Started
    | Progress
    | Finished
    | Draining
    | UnknownEvent
)
