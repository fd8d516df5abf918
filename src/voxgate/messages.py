"""The wire messages as frozen typed structs: parse what a client sends, encode what the server answers, and back.

The contract, with every field, is docs/protocol.md. Types are strict: ``true`` is no int, ``16000.0`` is no int, and a
missing field is an error that names it. Fields that are not known are ignored, so clients of other versions keep
working. All functions are pure and may be called from any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .errors import InternalError, InvalidMessage, InvalidStart

__all__ = [
    "COMPANDED",
    "PCM_ENCODINGS",
    "UNSET",
    "Active",
    "AudioFormat",
    "Data",
    "Draining",
    "Error",
    "Event",
    "Finished",
    "Flush",
    "Inactive",
    "KeepAlive",
    "Probabilities",
    "Progress",
    "Request",
    "Segment",
    "Start",
    "Started",
    "Stop",
    "UnknownEvent",
    "UnsetType",
    "VadOptions",
    "check_format",
    "check_output",
    "encode_event",
    "encode_request",
    "parse_event",
    "parse_request",
]

# ---------------------------------------------------------------------------------------------------- requests

#: Linear PCM: the name of each form of a sample, by ``bit_depth`` and ``is_float``.
PCM_ENCODINGS: Final = {
    (8, False): "u8",
    (16, False): "s16",
    (24, False): "s24",
    (32, False): "s32",
    (32, True): "f32",
    (64, True): "f64",
}
#: The values of ``encoding``; both have 8 bits and no floats.
COMPANDED: Final = ("mulaw", "alaw")
_SAMPLE_BYTES: Final = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8, "mulaw": 1, "alaw": 1}
_SUPPORTED: Final = (
    "supported (bit_depth/is_float): "
    + ", ".join(f"{bits}/{'true' if is_float else 'false'}" for bits, is_float in PCM_ENCODINGS)
    + ', and 8/false with encoding "mulaw" or "alaw"'
)


class AudioFormat(Struct, frozen=True, gc=False, omit_defaults=True):
    """The format of a session's binary messages: interleaved little-endian samples.

    ``sample_rate`` in Hz. ``encoding`` is None for linear PCM, or "mulaw" / "alaw" (both with 8 bits, not float).
    A parsed format has the right types but any values: :func:`check_format` says whether it is supported.
    """

    channels: int
    sample_rate: int
    bit_depth: int
    is_float: bool
    encoding: str | None = None

    @property
    def pcm_encoding(self) -> str:
        """One of u8, s16, s24, s32, f32, f64, mulaw, alaw. Raises InvalidStart for a combination without a name."""
        if self.encoding is None:
            name = PCM_ENCODINGS.get((self.bit_depth, self.is_float))
            if name is None:
                raise InvalidStart(
                    f"format.bit_depth {_show(self.bit_depth)} with is_float {_show(self.is_float)} is not supported; "
                    + _SUPPORTED
                )
            return name
        if self.encoding not in COMPANDED:
            raise InvalidStart(f'format.encoding must be "mulaw", "alaw" or null, got {_show(self.encoding)}')
        if self.bit_depth != 8:
            raise InvalidStart(
                f'format.bit_depth must be 8 with encoding "{self.encoding}", got {_show(self.bit_depth)}'
            )
        if self.is_float:
            raise InvalidStart(f'format.is_float must be false with encoding "{self.encoding}", got true')
        return self.encoding

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel. Raises InvalidStart like :attr:`pcm_encoding`."""
        return _SAMPLE_BYTES[self.pcm_encoding]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel. Raises InvalidStart like :attr:`pcm_encoding`."""
        return self.channels * self.sample_bytes


def check_format(
    format: AudioFormat, max_channels: int = 8, min_sample_rate: int = 4000, max_sample_rate: int = 192_000
) -> None:
    """Raise InvalidStart naming the field, its value and what is allowed, unless the server can decode `format`.

    Rates in Hz, both ends included.
    """
    if not 1 <= format.channels <= max_channels:
        raise InvalidStart(f"format.channels must be 1..{max_channels}, got {_show(format.channels)}")
    if not min_sample_rate <= format.sample_rate <= max_sample_rate:
        raise InvalidStart(
            f"format.sample_rate must be {min_sample_rate}..{max_sample_rate} Hz, got {_show(format.sample_rate)}"
        )
    _ = format.pcm_encoding


class VadOptions(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a client may tune in the voice-activity detection of its own session. None = the server's setting.

    Types are checked when parsed, ranges when merged with the server's settings (see vad.VadConfig.merged).
    """

    threshold: float | None = None
    negative_threshold: float | None = None
    prefix_padding_ms: int | None = None
    suffix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    min_speech_ms: int | None = None
    max_segment_s: float | None = None


class Start(Struct, frozen=True, tag_field="request", tag="start"):
    """Opens a session. ``trace_id`` is a W3C traceparent. ``token`` never shows in the repr."""

    format: AudioFormat
    interim_results: bool = False
    trace_id: str | None = None
    vad: VadOptions | None = None
    notices: bool = False
    token: str | None = None
    probabilities: bool = False

    def __repr__(self) -> str:
        return (
            f"Start(format={self.format!r}, interim_results={self.interim_results!r}, trace_id={self.trace_id!r}, "
            f"vad={self.vad!r}, notices={self.notices!r}, token={None if self.token is None else '***'}, "
            f"probabilities={self.probabilities!r})"
        )


class Stop(Struct, frozen=True, gc=False, tag_field="request", tag="stop"):
    """Ends the session: all results are sent, then the server closes with 1000 if ``disconnect``, else waits."""

    disconnect: bool = False


class Flush(Struct, frozen=True, gc=False, tag_field="request", tag="flush"):
    """Closes the open segment now and keeps the session."""


class KeepAlive(Struct, frozen=True, gc=False, tag_field="request", tag="keep_alive"):
    """Resets the idle timer."""


#: What a client sends.
Request: TypeAlias = Start | Stop | Flush | KeepAlive

_REQUESTS: Final = ("start", "stop", "flush", "keep_alive")
# What a required field should have been, for the error that says it is missing.
_REQUIRED: Final = {
    "format": "object",
    "format.channels": "int",
    "format.sample_rate": "int",
    "format.bit_depth": "int",
    "format.is_float": "bool",
}
_SECRET: Final = frozenset({"token"})
_ECHO_CHARACTERS: Final = 80

_request_decoder: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)
_EXPECTED_GOT = re.compile(r"Expected `(.+?)`(?:, got `(.+)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "array",
    dict: "object",
    type(None): "null",
}


def parse_request(text: str | bytes) -> Request:
    """One text message of a client. Raises InvalidMessage saying what was expected and what came.

    The error quotes at most about 80 characters of the message, and never a token.
    """
    try:
        return _request_decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessage(_explain(str(error), text)) from None
    except msgspec.DecodeError as error:
        raise InvalidMessage(_explain_malformed(str(error))) from None
    except UnicodeError:
        raise InvalidMessage("message: expected UTF-8 text, got bytes that are not UTF-8") from None
    except RecursionError:
        raise InvalidMessage("message: expected a flat JSON object, got one nested too deep") from None


def encode_request(request: Request) -> str:
    """A request as the text message a client sends. Additive options that have their default are left out."""
    if type(request) is not Start:
        return _encoder.encode(request).decode()
    fields: dict[str, Any] = {
        "request": "start",
        "format": request.format,
        "interim_results": request.interim_results,
        "trace_id": request.trace_id,
    }
    if request.vad is not None:
        fields["vad"] = request.vad
    if request.notices:
        fields["notices"] = True
    if request.token is not None:
        fields["token"] = request.token
    if request.probabilities:
        fields["probabilities"] = True
    return _encoder.encode(fields).decode()


def _explain_malformed(problem: str) -> str:
    # The decoder's text holds a reason and a byte position, never the message itself.
    if problem == "Input data was truncated":
        return "message: expected JSON, got text that ends too early"
    return "message: expected JSON, got " + problem.removeprefix("JSON is malformed: ")[:_ECHO_CHARACTERS]


def _explain(problem: str, text: str | bytes) -> str:
    at = _AT.fullmatch(problem)
    problem, path = (at[1], at[2]) if at else (problem, "")
    if missing := _MISSING.fullmatch(problem):
        name = f"{path}.{missing[1]}" if path else missing[1]
        if name == "request":
            return _must_be_request("nothing")
        return f"{name}: expected {_REQUIRED[name]}, got nothing"
    if path == "request":
        value = _value_at(text, path)
        if value in _REQUESTS:
            return "request: expected once, got several"
        return _must_be_request(_show(value) if isinstance(value, str) else _describe(value, path))
    if match := _EXPECTED_GOT.fullmatch(problem):
        expected, got = match[1].replace(" | ", " or "), match[2]
        value = _value_at(text, path)
        came = _describe(value, path)
        if got is not None and came.split(" ", 1)[0] != got:
            came = got  # the field came more than once, and the last of them is not the one that was wrong
        return f"{path or 'message'}: expected {expected}, got {came}"
    return f"{path or 'message'}: {problem[:_ECHO_CHARACTERS]}"


def _must_be_request(came: str) -> str:
    return f"request must be one of {', '.join(_REQUESTS)}, got {came}"


def _value_at(text: str | bytes, path: str) -> Any:
    """The value at a dotted path of a message that is known to be JSON up to there; UNSET when there is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNSET
    for name in path.split(".") if path else ():
        value = value.get(name, UNSET) if isinstance(value, dict) else UNSET
    return value


def _describe(value: Any, path: str) -> str:
    """The JSON type of a value, and the value itself unless it is a container or a secret."""
    name = _TYPE_NAMES.get(type(value), "something else")
    if value is None or isinstance(value, list | dict | UnsetType) or path.rpartition(".")[2] in _SECRET:
        return name
    return f"{name} {_show(value)}"


def _show(value: object) -> str:
    """A value as JSON, cut to what an error may quote."""
    if isinstance(value, int) and abs(value) >= 10**_ECHO_CHARACTERS:
        return f"an integer of {value.bit_length()} bits"  # str() of a huge int is slow, and refused beyond a limit
    if isinstance(value, str):
        value = value[: _ECHO_CHARACTERS + 1].encode("utf-8", "replace").decode()
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _ECHO_CHARACTERS:
        return text
    return text[: _ECHO_CHARACTERS - 2] + ('…"' if isinstance(value, str) else "…")


# ------------------------------------------------------------------------------------------------------ events


# ``segment_id``, in the next three and in a Segment: the number of the segment, from 0 within its channel and session.
# UNSET when the client asked for no notices.


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


class Error(Struct, frozen=True, gc=False):
    """Something failed. ``code`` is that of an error class; it is empty when the server does not send codes.

    ``segment_id`` is that of the result in whose place the error stands; UNSET in other errors.
    """

    type: ClassVar[str] = "error"
    message: str
    code: str = ""
    channel: int = 0
    segment_id: int | UnsetType = UNSET


class Segment(Struct, frozen=True):
    """A result for the audio from ``start_time`` to ``end_time`` (seconds since the start of the session).

    ``is_final`` is UNSET on routes that know no interims. ``output`` is what the model returned.
    """

    type: ClassVar[str] = "segment"
    start_time: float
    end_time: float
    is_final: bool | UnsetType
    output: Mapping[str, Any]
    channel: int = 0
    segment_id: int | UnsetType = UNSET


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
    that of the W3C trace the session belongs to, None when it belongs to none.
    """

    type: ClassVar[str] = "started"
    session_id: str
    model: str
    limits: Mapping[str, Any]
    channel: int = 0
    trace_id: str | None = None


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
    Active | Inactive | Error | Segment | Data | Probabilities | Started | Progress | Finished | Draining | UnknownEvent
)

_RESERVED: Final = frozenset({"type", "channel", "start_time", "end_time", "is_final"})


def encode_event(event: Event) -> str:
    """An event as the text message the server sends. The order of the fields is that of the contract.

    Times are rounded to 3 decimals. A model's output may hold NumPy scalars and arrays (anything with ``tolist``);
    non-finite floats become null. Raises InternalError naming the key when the output uses a reserved key (type,
    channel, start_time, end_time, is_final, and segment_id in a segment that has one) or holds what JSON cannot say.
    """
    return _ENCODE[type(event)](event)


def _seconds(time: float) -> float:
    try:
        return round(time * 1000) / 1000  # three times as fast as round(time, 3), and never -0.0
    except (OverflowError, ValueError):
        return float(time)  # infinite or no number: becomes null


def _tolist(value: Any) -> Any:
    tolist = getattr(value, "tolist", None)
    plain = tolist() if callable(tolist) else UNSET
    if plain is UNSET or type(plain) is type(value):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return plain


_encoder: Final = msgspec.json.Encoder(enc_hook=_tolist)


def check_output(output: Mapping[str, Any]) -> None:
    """Raises InternalError, as `encode_event` does, for a model's output that no client could be sent."""
    encode_event(Segment(0.0, 1.0, True, output, 0))


def _encode_output(fields: dict[str, Any], output: Mapping[str, Any]) -> str:
    if not _RESERVED.isdisjoint(output):
        key = next(key for key in output if key in _RESERVED)
        raise InternalError(f'model output: key "{key}" is reserved')
    try:
        return _encoder.encode(fields).decode()
    except Exception as error:
        raise InternalError(_blame(output)) from error


def _blame(output: Mapping[str, Any]) -> str:
    for key, value in output.items():
        if not isinstance(key, str):
            return f"model output: expected str keys, got {type(key).__name__}"
        try:
            _encoder.encode({key: value})
        except Exception as error:
            return f"model output: key {_show(key)} cannot be sent as JSON: {error}"
    return "model output cannot be sent as JSON"


def _encode_active(event: Active | Inactive) -> str:
    fields: dict[str, Any] = {"type": event.type, "time": _seconds(event.time)}
    return _encoder.encode(_identified(fields, event)).decode()


def _identified(fields: dict[str, Any], event: Active | Inactive | Error | Segment) -> dict[str, Any]:
    """`fields`, with those that come last."""
    if event.segment_id is not UNSET:
        fields["segment_id"] = event.segment_id
    fields["channel"] = event.channel
    return fields


def _encode_error(event: Error) -> str:
    fields = _identified({"type": "error", "message": event.message, "code": event.code}, event)
    try:
        return _encoder.encode(fields).decode()
    except UnicodeError:  # a lone surrogate, from a model's text: the error is still owed
        fields["message"] = event.message.encode("utf-8", "replace").decode()
        return _encoder.encode(fields).decode()


def _encode_segment(event: Segment) -> str:
    output = event.output
    fields: dict[str, Any] = {
        "type": "segment",
        "start_time": _seconds(event.start_time),
        "end_time": _seconds(event.end_time),
    }
    if event.is_final is not UNSET:
        fields["is_final"] = event.is_final
    fields.update(output)
    if event.segment_id is not UNSET and "segment_id" in output:
        raise InternalError('model output: key "segment_id" is reserved')
    return _encode_output(_identified(fields, event), output)


def _encode_data(event: Data) -> str:
    return _encode_output({"type": "data", **event.output, "channel": event.channel}, event.output)


def _encode_probabilities(event: Probabilities) -> str:
    return _encoder.encode(
        {
            "type": "probabilities",
            "start_time": _seconds(event.start_time),
            "step_s": round(event.step_s, 6),  # a frame may be shorter than a millisecond
            "values": [_seconds(value) for value in event.values],
            "channel": event.channel,
        }
    ).decode()


def _encode_started(event: Started) -> str:
    fields: dict[str, Any] = {
        "type": "started",
        "session_id": event.session_id,
        "model": event.model,
        "limits": event.limits,
    }
    if event.trace_id is not None:
        fields["trace_id"] = event.trace_id
    return _encoder.encode({**fields, "channel": event.channel}).decode()


def _encode_progress(event: Progress) -> str:
    return _encoder.encode(
        {
            "type": "progress",
            "received_s": _seconds(event.received_s),
            "processed_s": _seconds(event.processed_s),
            "lag_s": _seconds(event.lag_s),
            "real_time_factor": _seconds(event.real_time_factor),
            "channel": event.channel,
        }
    ).decode()


def _encode_finished(event: Finished) -> str:
    return _encoder.encode(
        {
            "type": "finished",
            "received_s": _seconds(event.received_s),
            "processed_s": _seconds(event.processed_s),
            "results": event.results,
            "errors": event.errors,
            "channel": event.channel,
        }
    ).decode()


def _encode_draining(event: Draining) -> str:
    return _encoder.encode({"type": "draining", "grace_s": _seconds(event.grace_s), "channel": event.channel}).decode()


def _encode_unknown(event: UnknownEvent) -> str:
    return _encoder.encode(event.fields).decode()


_ENCODE: Final[dict[type, Callable[[Any], str]]] = {
    Active: _encode_active,
    Inactive: _encode_active,
    Error: _encode_error,
    Segment: _encode_segment,
    Data: _encode_data,
    Probabilities: _encode_probabilities,
    Started: _encode_started,
    Progress: _encode_progress,
    Finished: _encode_finished,
    Draining: _encode_draining,
    UnknownEvent: _encode_unknown,
}

_PLAIN_EVENTS: Final[dict[str, type[Any]]] = {
    event.type: event for event in (Active, Inactive, Error, Probabilities, Started, Progress, Finished, Draining)
}
_SEGMENT_FIELDS: Final = frozenset({"type", "start_time", "end_time", "is_final", "channel"})


class _SegmentHead(Struct, frozen=True, gc=False):
    start_time: float
    end_time: float
    is_final: bool | UnsetType = UNSET
    channel: int = 0


class _DataHead(Struct, frozen=True, gc=False):
    channel: int = 0


def parse_event(text: str | bytes) -> Event:
    """One text message of a server, for a client. Raises InvalidMessage saying what was expected and what came.

    Unknown fields of known events are ignored; an event of an unknown type becomes an UnknownEvent.
    """
    try:
        fields = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidMessage(_explain_malformed(str(error))) from None
    except UnicodeError:
        raise InvalidMessage("message: expected UTF-8 text, got bytes that are not UTF-8") from None
    except RecursionError:
        raise InvalidMessage("message: expected a flat JSON object, got one nested too deep") from None
    if not isinstance(fields, dict):
        raise InvalidMessage(f"message: expected object, got {_describe(fields, '')}")
    kind = fields.get("type", UNSET)
    if not isinstance(kind, str):
        raise InvalidMessage(f"type: expected str, got {'nothing' if kind is UNSET else _describe(kind, 'type')}")
    if kind == "segment":
        segment = _convert(fields, _SegmentHead)
        output = {key: value for key, value in fields.items() if key not in _SEGMENT_FIELDS}
        id = output.get("segment_id")  # of a server that knows no ids, it may be anything that its model returned
        id = output.pop("segment_id") if type(id) is int else UNSET
        return Segment(segment.start_time, segment.end_time, segment.is_final, output, segment.channel, id)
    if kind == "data":
        channel = _convert(fields, _DataHead).channel
        return Data({key: value for key, value in fields.items() if key not in ("type", "channel")}, channel)
    if kind in _PLAIN_EVENTS:
        event: Event = _convert(fields, _PLAIN_EVENTS[kind])
        return event
    return UnknownEvent(kind, fields, _convert(fields, _DataHead).channel)


def _convert(fields: dict[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        problem = str(error)
        at = _AT.fullmatch(problem)
        problem, path = (at[1], at[2]) if at else (problem, "")
        if missing := _MISSING.fullmatch(problem):
            raise InvalidMessage(f"{missing[1]}: expected a value, got nothing") from None
        raise InvalidMessage(f"{path or 'message'}: {problem.replace('`', '')[:_ECHO_CHARACTERS]}") from None
