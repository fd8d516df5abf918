"""The native wire's messages as those of `voxgate.proto`, and back."""

from __future__ import annotations

import json
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from voxgate.proto.voxgate import ClientMessage

__all__ = ["audio_message", "event_text", "request_message"]

STRUCT: Final = Struct.DESCRIPTOR.full_name
#: Fields of a start that are metadata of the call.
IN_METADATA: Final = ("trace_id", "token")
_EXACT: Final = 2.0**53


def audio_message(data: bytes | memoryview) -> bytes:
    """Audio, encoded."""
    message: bytes = ClientMessage(audio=bytes(data)).SerializeToString()
    return message


def request_message(text: str, route: str) -> bytes:
    """A request of the native wire, encoded. `route`: of a start."""
    fields = json.loads(text)
    name = fields.pop("request")
    if name == "start":
        fields = {"route": route, **{key: value for key, value in fields.items() if key not in IN_METADATA}}
    message: bytes = ParseDict({name: fields}, ClientMessage()).SerializeToString()
    return message


def event_text(message: Any) -> str | None:
    """A ServerMessage as an event of the native wire. None: one that this version does not know."""
    name = message.WhichOneof("message")
    if name is None:
        return None
    fields = _plain(getattr(message, name))
    return json.dumps({"type": name, **fields.pop("output", {}), **fields})


def _plain(message: Any) -> dict[str, Any]:
    """The fields that are set, and those that always are."""
    if message.DESCRIPTOR.full_name == STRUCT:
        return {name: _value(value) for name, value in message.fields.items()}
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            fields[field.name] = list(getattr(message, field.name))
        elif not field.has_presence or message.HasField(field.name):
            value = getattr(message, field.name)
            fields[field.name] = value if field.message_type is None else _plain(value)
    return fields


def _value(value: Any) -> Any:
    """Of a Struct. Its numbers are floats: those without a fraction become integers again."""
    match value.WhichOneof("kind"):
        case "number_value":
            number: float = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case "string_value" | "bool_value" as kind:
            return getattr(value, kind)
        case "struct_value":
            return _plain(value.struct_value)
        case "list_value":
            return [_value(item) for item in value.list_value.values]
    return None
