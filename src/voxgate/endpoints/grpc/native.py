"""The messages of `voxgate.v1`: the requests and events of docs/protocol.md, in protobuf."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from google.protobuf.message import DecodeError
from msgspec import UNSET

from voxgate.endpoints.grpc.struct_bytes import length, struct_bytes
from voxgate.endpoints.grpc.wire import GrpcWire
from voxgate.errors import InternalError, InvalidMessage, InvalidStart, shown
from voxgate.proto.voxgate import ClientMessage, ServerMessage
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
)
from voxgate.protocol.json_codec import parse_request, rounded_seconds
from voxgate.protocol.machine import ROUTES, Route
from voxgate.protocol.output import Output, UnsendableOutput
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Received

__all__ = ["NativeGrpcWire"]

DEFAULT_ROUTE: Final = "segmented"
_EXPECTED: Final = "message: expected start, audio, stop, flush, clear or keep_alive, got "

_PLAIN: Final[Mapping[str, Received]] = {"flush": Flush(), "clear": Clear(), "keep_alive": KeepAlive()}
_parse: Final = ClientMessage.FromString


class NativeGrpcWire(GrpcWire):
    """`voxgate.v1.Voxgate/Stream`."""

    name: ClassVar[WireName] = "grpc"

    def __init__(self, route: Route, start: Start) -> None:
        self.route = route
        self.start = start

    @classmethod
    def open(cls, first: bytes, context: SessionContext, request_id: str) -> NativeGrpcWire:
        message = _parsed(first)
        kind = message.WhichOneof("message")
        if kind != "start":
            raise InvalidMessage(f"message: expected start first, got {kind or 'nothing'}")
        route = message.start.route or DEFAULT_ROUTE
        if route not in ROUTES:
            raise InvalidStart(f"route: expected {', '.join(ROUTES)}, got {shown(route)}")
        return cls(route, _start_of(message.start))

    def read(self, data: bytes) -> Sequence[Received]:
        message = _parsed(data)
        kind = message.WhichOneof("message")
        if kind == "audio":
            return (message.audio,)
        if kind == "stop":
            return (Stop(message.stop.disconnect),)
        if kind == "start":
            if message.start.route not in ("", self.route):
                raise InvalidStart(
                    f"route: expected {self.route}, that of the stream, got {shown(message.start.route)}"
                )
            return (_start_of(message.start),)
        if kind is None:
            raise InvalidMessage(f"{_EXPECTED}nothing")
        return (_PLAIN[kind],)

    def encode(self, event: Event) -> Sequence[bytes]:
        encode = _ENCODE.get(type(event))
        return () if encode is None else (encode(event),)


def _parsed(data: bytes) -> Any:
    try:
        return _parse(data)
    except DecodeError:
        raise InvalidMessage(f"{_EXPECTED}bytes that are no voxgate.v1.ClientMessage") from None


def _start_of(message: Any) -> Start:
    """Raises InvalidMessage for a field that is missing or wrong, as the native wire does."""
    fields = _fields_of(message)
    fields.pop("route", None)
    return parse_request(msgspec.json.encode({"request": "start", "format": {}, **fields}))  # type: ignore[return-value]


def _fields_of(message: Any) -> dict[str, Any]:
    """The fields that are set, by name."""
    fields: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            fields[field.name] = value
        elif field.message_type.full_name == "google.protobuf.Struct":
            fields[field.name] = _plain_struct(value)
        else:
            fields[field.name] = _fields_of(value)
    return fields


def _plain_struct(value: Any) -> dict[str, Any]:
    return {key: _plain(item) for key, item in value.fields.items()}


def _plain(value: Any) -> Any:
    """A `google.protobuf.Value` as JSON has it. A number without a fraction becomes an integer."""
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "struct_value":
        return _plain_struct(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


# Events. A result may be large: it is encoded by itself, and only copied into the messages around it.


def _wrapped(number: int, data: bytes) -> bytes:
    """The bytes of a message field."""
    return b"".join((length(number << 3 | 2), length(len(data)), data))


_NUMBERS: Final = {field.name: field.number for field in ServerMessage.DESCRIPTOR.fields}
_TYPES: Final = {field.name: type(getattr(ServerMessage(), field.name)) for field in ServerMessage.DESCRIPTOR.fields}


def _encoded(name: str, struct_field: str = "", plain: Mapping[str, Any] | None = None, **fields: Any) -> bytes:
    """A ServerMessage. `plain`: of its Struct `struct_field`."""
    kind = _TYPES[name]
    data = kind(**{key: value for key, value in fields.items() if value is not UNSET}).SerializeToString()
    if plain is not None:
        data += _wrapped(kind.DESCRIPTOR.fields_by_name[struct_field].number, struct_bytes(plain))
    return _wrapped(_NUMBERS[name], data)


def _output(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result as plain data."""
    if isinstance(output, Output):
        return dict(output)
    try:
        return dict(Output.of(output))
    except UnsendableOutput as error:
        raise InternalError(f"model output: {error}") from error


def _active(event: Active | Inactive | SpeechResumed) -> bytes:
    return _encoded(event.type, time=rounded_seconds(event.time), channel=event.channel, segment_id=event.segment_id)


def _segment(event: Segment) -> bytes:
    return _encoded(
        "segment",
        "output",
        _output(event.output),
        start_time=rounded_seconds(event.start_time),
        end_time=rounded_seconds(event.end_time),
        is_final=event.is_final,
        channel=event.channel,
        segment_id=event.segment_id,
        stable_text=event.stable_text,
        eager=event.eager,
    )


def _data(event: Data) -> bytes:
    return _encoded("data", "output", _output(event.output), channel=event.channel)


def _probabilities(event: Probabilities) -> bytes:
    return _encoded(
        "probabilities",
        start_time=rounded_seconds(event.start_time),
        step_s=round(event.step_s, 6),
        values=[rounded_seconds(value) for value in event.values],
        channel=event.channel,
    )


def _error(event: Error) -> bytes:
    message = event.message.encode("utf-8", "replace").decode()  # a model's text may hold lone surrogates
    return _encoded("error", message=message, code=event.code, channel=event.channel, segment_id=event.segment_id)


def _started(event: Started) -> bytes:
    fields: dict[str, Any] = {"session_id": event.session_id, "model": event.model, "channel": event.channel}
    if event.trace_id is not None:
        fields["trace_id"] = event.trace_id
    if event.format is not None:
        fields["format"] = msgspec.structs.asdict(event.format)
    started = _TYPES["started"](**fields)
    data = started.SerializeToString() + _wrapped(_started_number("limits"), struct_bytes(event.limits))
    if event.options_schema is not None:
        data += _wrapped(_started_number("options_schema"), struct_bytes(event.options_schema))
    return _wrapped(_NUMBERS["started"], data)


def _started_number(name: str) -> int:
    number: int = _TYPES["started"].DESCRIPTOR.fields_by_name[name].number
    return number


def _progress(event: Progress) -> bytes:
    return _encoded(
        "progress",
        received_s=rounded_seconds(event.received_s),
        processed_s=rounded_seconds(event.processed_s),
        lag_s=rounded_seconds(event.lag_s),
        real_time_factor=rounded_seconds(event.real_time_factor),
        channel=event.channel,
    )


def _finished(event: Finished) -> bytes:
    return _encoded(
        "finished",
        received_s=rounded_seconds(event.received_s),
        processed_s=rounded_seconds(event.processed_s),
        results=event.results,
        errors=event.errors,
        channel=event.channel,
    )


def _draining(event: Draining) -> bytes:
    return _encoded("draining", grace_s=rounded_seconds(event.grace_s), channel=event.channel)


_ENCODE: Final[Mapping[type, Callable[[Any], bytes]]] = {
    Active: _active,
    Inactive: _active,
    SpeechResumed: _active,
    Segment: _segment,
    Data: _data,
    Probabilities: _probabilities,
    Error: _error,
    Started: _started,
    Progress: _progress,
    Finished: _finished,
    Draining: _draining,
}
