"""A plain client of `voxgate.v1`, of the synchronous gRPC library: sends what it is told, and collects what comes."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from voxgate.proto.voxgate import INFO, STREAM, ClientMessage, InfoRequest, InfoResponse, ServerMessage

__all__ = ["GrpcClient", "audio", "details", "events_of", "plain", "request", "stream"]

TIMEOUT_S = 30


def request(message: dict[str, Any]) -> Any:
    """A request of the websocket as a message of gRPC."""
    fields = dict(message)
    kind = fields.pop("request")
    sent = ClientMessage()
    part = getattr(sent, kind)
    part.SetInParent()
    _set(part, fields)
    return sent


def _set(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name == "options":
            message.options.update(value)
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            _set(getattr(message, name), value)
        elif value is not None:
            setattr(message, name, value)


def audio(data: bytes) -> Any:
    return ClientMessage(audio=data)


def plain(message: Any) -> dict[str, Any]:
    """The fields of a message, without those that are not set."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Struct":
        return {key: _value(value) for key, value in message.fields.items()}
    fields = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if hasattr(value, "append"):  # repeated
            fields[field.name] = list(value)
        elif not field.has_presence or message.HasField(field.name):
            fields[field.name] = value if field.message_type is None else plain(value)
    return fields


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind)


def event_of(message: Any) -> dict[str, Any]:
    """An event as the websocket has it: the result beside the times."""
    kind = message.WhichOneof("message")
    fields = plain(getattr(message, kind))
    return {"type": kind, **fields.pop("output", {}), **fields}


def events_of(messages: Iterable[Any]) -> list[dict[str, Any]]:
    return [event_of(message) for message in messages]


def details(error: grpc.RpcError) -> dict[str, Any]:
    """The details of a status, by the name of their type."""
    kinds = {kind: getattr(error_details_pb2, kind) for kind in ("ErrorInfo", "RetryInfo", "BadRequest")}
    found = {}
    for packed in rpc_status.from_call(error).details:
        name = packed.type_url.rpartition(".")[2]
        found[name] = kinds[name]()
        packed.Unpack(found[name])
    return found


class GrpcClient:
    """One channel, and at most one call at a time: ``with GrpcClient(port) as client``."""

    def __init__(self, port: int, credentials: Any = None, options: Iterable[tuple[str, Any]] = (), **metadata: str):
        address, own = f"localhost:{port}", [*options, ("grpc.use_local_subchannel_pool", 1)]
        self.channel = (
            grpc.insecure_channel(address, own)
            if credentials is None
            else grpc.secure_channel(address, credentials, own)
        )
        self._metadata = tuple(metadata.items())
        self._open = self.channel.stream_stream(STREAM, ClientMessage.SerializeToString, ServerMessage.FromString)

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.channel.close()

    def open(self, *messages: Any, timeout_s: float | None = TIMEOUT_S) -> GrpcClient:
        """Begins a call. `messages`: requests as the websocket has them, audio, or messages of gRPC."""
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.call = self._open(iter(self._outgoing.get, None), timeout=timeout_s, metadata=self._metadata)
        self.send(*messages)
        return self

    def send(self, *messages: Any) -> None:
        for message in messages:
            if isinstance(message, dict):
                message = request(message)
            self._outgoing.put(audio(message) if isinstance(message, bytes) else message)

    def half_close(self) -> None:
        self._outgoing.put(None)

    def receive(self) -> dict[str, Any]:
        return event_of(next(self.call))

    def rest(self) -> list[dict[str, Any]]:
        """All events up to the end of the call, with any status: see `code`."""
        events = []
        try:
            for message in self.call:
                events.append(event_of(message))
        except grpc.RpcError as error:
            self.error = error
        self.half_close()
        return events

    @property
    def code(self) -> grpc.StatusCode:
        """Waits for the end of the call."""
        code: grpc.StatusCode = self.call.code()
        return code

    def info(self) -> dict[str, Any]:
        call = self.channel.unary_unary(INFO, InfoRequest.SerializeToString, InfoResponse.FromString)
        return plain(call(InfoRequest(), timeout=TIMEOUT_S, metadata=self._metadata).info)


def stream(port: int, *messages: Any) -> list[dict[str, Any]]:
    """Sends everything, half-closes, and returns all events; the status must be OK."""
    with GrpcClient(port) as client:
        client.open(*messages)
        client.half_close()
        events = client.rest()
        assert client.code is grpc.StatusCode.OK, (client.code, client.call.details(), events)
    return events


def refused(port: int, *messages: Any, **metadata: str) -> grpc.RpcError:
    """The error of a call whose client gets no event."""
    with GrpcClient(port, **metadata) as client:
        client.open(*messages)
        assert client.rest() == []
        return client.error


def pieces_of(data: bytes, size: int) -> Iterator[Any]:
    for offset in range(0, len(data), size):
        yield audio(data[offset : offset + size])
