"""The JSON of the native wire: requests and events as text messages, in both directions.

docs/protocol.md is the contract, with every field. Types are strict: ``true`` is no int, ``16000.0`` is no int, and a
missing field is an error that names it. Unknown fields are ignored, so that clients of other versions keep working. All
functions are pure and may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voxgate.errors import MAX_SHOWN_CHARACTERS, InternalError, InvalidMessage
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
    Started,
    UnknownEvent,
)
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.json_problems import AT, MISSING, describe, explain, explain_malformed, value_at
from voxgate.protocol.output import Output, UnsendableOutput
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Request, Start, Stop

__all__ = ["encode_event", "encode_request", "parse_event", "parse_request", "rounded_seconds"]


class PcmStart(Start, frozen=True, tag="start"):
    """A start as JSON, with PCM. Two classes, because msgspec tells no two untagged structs apart."""

    format: AudioFormat


class ContainerStart(Start, frozen=True, tag="start"):
    """A start as JSON, with a container."""

    format: ContainerFormat


_request_decoder: Final = msgspec.json.Decoder(PcmStart | Stop | Flush | Clear | KeepAlive)
_container_decoder: Final = msgspec.json.Decoder(ContainerStart | Stop | Flush | Clear | KeepAlive)


def parse_request(text: str | bytes) -> Request:
    """One text message of a client. Raises InvalidMessage saying what was expected and what came.

    The error quotes at most about 80 characters of the message, and never a token.
    """
    # Only the value counts; looking for the name first spares all other messages a second parse.
    names_container = ('"container"' if isinstance(text, str) else b'"container"') in text  # type: ignore[operator]
    decoder = _container_decoder if names_container and _has_container(text) else _request_decoder
    try:
        request: Request = decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InvalidMessage(explain(str(error), text)) from None
    except msgspec.DecodeError as error:
        raise InvalidMessage(explain_malformed(str(error))) from None
    except UnicodeError:
        raise InvalidMessage("message: expected UTF-8 text, got bytes that are not UTF-8") from None
    except RecursionError:
        raise InvalidMessage("message: expected a flat JSON object, got one nested too deep") from None
    if isinstance(request, Start):
        return Start(*(getattr(request, name) for name in Start.__struct_fields__))
    return request


def _has_container(text: str | bytes) -> bool:
    format = value_at(text, "format")
    return isinstance(format, dict) and "container" in format


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
    if request.segmentation != "auto":
        fields["segmentation"] = request.segmentation
    if request.stability:
        fields["stability"] = True
    if request.eager:
        fields["eager"] = True
    if request.options is not None:
        fields["options"] = request.options
    if request.turn is not None:
        fields["turn"] = request.turn
    return _encoder.encode(fields).decode()


def encode_event(event: Event) -> str:
    """An event as the text message the server sends. The order of the fields is that of the contract.

    Times are rounded to 3 decimals. The output of a model should be an `Output`, which is encoded already; any other
    mapping becomes one here. Raises InternalError, with the key, for a mapping that cannot, or that uses a key of
    this event (such as segment_id in a segment that has one).
    """
    return _ENCODE[type(event)](event)


def rounded_seconds(time: float) -> float:
    """A time as clients get it: to the millisecond."""
    try:
        return round(time * 1000) / 1000  # three times as fast as round(time, 3), and never -0.0
    except (OverflowError, ValueError):
        return float(time)  # infinite or no number: becomes null


_encoder: Final = msgspec.json.Encoder()


def _encoded(output: Mapping[str, Any]) -> Output:
    if isinstance(output, Output):
        return output
    try:
        return Output.of(output)
    except UnsendableOutput as error:
        raise InternalError(f"model output: {error}") from error


# The fields of frequent events: structs are twice as fast to encode as dicts, and leave UNSET out.


class _Moment(Struct, frozen=True, gc=False):
    """An Active, an Inactive or a SpeechResumed."""

    type: str
    time: float
    segment_id: int | UnsetType
    channel: int


class _SegmentStart(Struct, frozen=True, gc=False, tag_field="type", tag="segment"):
    """The fields of a Segment before those of the model."""

    start_time: float
    end_time: float
    is_final: bool | UnsetType
    eager: bool | UnsetType


class _SegmentEnd(Struct, frozen=True, gc=False):
    """The fields behind them."""

    stable_text: str | UnsetType
    turn_probability: float | UnsetType
    segment_id: int | UnsetType
    channel: int


def _spliced(start: object, output: Output, end: object) -> str:
    """One object of the fields of all three, in this order. The output may be large: it is only copied."""
    members = (_encoder.encode(start)[:-1], output.json, _encoder.encode(end)[1:])
    return b",".join(members if output.json else members[::2]).decode()


def _encode_moment(event: Active | Inactive | SpeechResumed) -> str:
    return _encoder.encode(_Moment(event.type, rounded_seconds(event.time), event.segment_id, event.channel)).decode()


def _encode_error(event: Error) -> str:
    fields: dict[str, Any] = {"type": "error", "message": event.message, "code": event.code}
    if event.segment_id is not UNSET:
        fields["segment_id"] = event.segment_id
    fields["channel"] = event.channel
    try:
        return _encoder.encode(fields).decode()
    except UnicodeError:  # a lone surrogate, from a model's text: the error is still owed
        fields["message"] = event.message.encode("utf-8", "replace").decode()
        return _encoder.encode(fields).decode()


def _encode_segment(event: Segment) -> str:
    output, probability = event.output, event.turn_probability
    if type(output) is not Output:
        output = _encoded(output)
    if output.session_keys:
        used = [key for key in output.session_keys if getattr(event, key) is not UNSET]
        if used:
            raise InternalError(f'model output: the key "{min(used)}" is reserved')
    return _spliced(
        _SegmentStart(rounded_seconds(event.start_time), rounded_seconds(event.end_time), event.is_final, event.eager),
        output,
        _SegmentEnd(
            event.stable_text,
            UNSET if probability is UNSET else rounded_seconds(probability),
            event.segment_id,
            event.channel,
        ),
    )


def _encode_data(event: Data) -> str:
    return _spliced({"type": "data"}, _encoded(event.output), {"channel": event.channel})


def _encode_probabilities(event: Probabilities) -> str:
    return _encoder.encode(
        {
            "type": "probabilities",
            "start_time": rounded_seconds(event.start_time),
            "step_s": round(event.step_s, 6),  # a frame may be shorter than a millisecond
            "values": [rounded_seconds(value) for value in event.values],
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
    if event.format is not None:
        fields["format"] = event.format
    if event.options_schema is not None:
        fields["options_schema"] = event.options_schema
    if event.turn_detector is not None:
        fields["turn_detector"] = event.turn_detector
    return _encoder.encode({**fields, "channel": event.channel}).decode()


def _encode_progress(event: Progress) -> str:
    return _encoder.encode(
        {
            "type": "progress",
            "received_s": rounded_seconds(event.received_s),
            "processed_s": rounded_seconds(event.processed_s),
            "lag_s": rounded_seconds(event.lag_s),
            "real_time_factor": rounded_seconds(event.real_time_factor),
            "channel": event.channel,
        }
    ).decode()


def _encode_finished(event: Finished) -> str:
    return _encoder.encode(
        {
            "type": "finished",
            "received_s": rounded_seconds(event.received_s),
            "processed_s": rounded_seconds(event.processed_s),
            "results": event.results,
            "errors": event.errors,
            "channel": event.channel,
        }
    ).decode()


def _encode_draining(event: Draining) -> str:
    return _encoder.encode(
        {"type": "draining", "grace_s": rounded_seconds(event.grace_s), "channel": event.channel}
    ).decode()


def _encode_unknown(event: UnknownEvent) -> str:
    return _encoder.encode(event.fields).decode()


_ENCODE: Final[dict[type, Callable[[Any], str]]] = {
    Active: _encode_moment,
    Inactive: _encode_moment,
    SpeechResumed: _encode_moment,
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
    event.type: event
    for event in (Active, Inactive, SpeechResumed, Error, Probabilities, Started, Progress, Finished, Draining)
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
        raise InvalidMessage(explain_malformed(str(error))) from None
    except UnicodeError:
        raise InvalidMessage("message: expected UTF-8 text, got bytes that are not UTF-8") from None
    except RecursionError:
        raise InvalidMessage("message: expected a flat JSON object, got one nested too deep") from None
    if not isinstance(fields, dict):
        raise InvalidMessage(f"message: expected object, got {describe(fields, '')}")
    kind = fields.get("type", UNSET)
    if not isinstance(kind, str):
        raise InvalidMessage(f"type: expected str, got {'nothing' if kind is UNSET else describe(kind, 'type')}")
    if kind == "segment":
        segment = _convert(fields, _SegmentHead)
        output = {key: value for key, value in fields.items() if key not in _SEGMENT_FIELDS}
        id = output.get("segment_id")  # of a server that knows no ids, it may be anything that its model returned
        id = output.pop("segment_id") if type(id) is int else UNSET
        stable: str | UnsetType = UNSET
        eager: bool | UnsetType = UNSET
        probability: float | UnsetType = UNSET
        if segment.is_final is not UNSET and type(output.get("turn_probability")) in (int, float):
            probability = float(output.pop("turn_probability"))
        if segment.is_final is False:
            stable = output.pop("stable_text") if type(output.get("stable_text")) is str else UNSET
            eager = output.pop("eager") if output.get("eager") is True else UNSET
        head = (segment.start_time, segment.end_time, segment.is_final)
        return Segment(*head, output, segment.channel, id, stable, eager, probability)
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
        at = AT.fullmatch(problem)
        problem, path = (at[1], at[2]) if at else (problem, "")
        if missing := MISSING.fullmatch(problem):
            raise InvalidMessage(f"{missing[1]}: expected a value, got nothing") from None
        raise InvalidMessage(f"{path or 'message'}: {problem.replace('`', '')[:MAX_SHOWN_CHARACTERS]}") from None
