"""The client on Voxgate's gRPC API, against servers that do what a script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc")
pytest.importorskip("grpc_status")

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2

from helpers.ports import held_port
from voxgate.client import ClosedError, ConnectError, Reconnect, RefusedError, stream
from voxgate.client.wires import check_wire, wire_at
from voxgate.proto.voxgate import SERVICE, ClientMessage, ServerMessage
from voxgate.protocol.events import Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

START = Start(AudioFormat(1, 16_000, 16, False))
SECOND = (np.zeros(16_000, np.int16), 16_000)
ACCEPTED = (("x-request-id", "an-id"),)
FINAL = {"active": {"time": 0.0}}, {"inactive": {"time": 1.0}}, {"segment": {"start_time": 0.0, "end_time": 1.0}}

Handler = Callable[[Any, Any], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The address of a server whose `Stream` is `handler(messages, context)`."""
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(
        handler,
        request_deserializer=ClientMessage.FromString,
        response_serializer=ServerMessage.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Stream": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def answer(context: Any, *events: dict[str, Any]) -> None:
    for event in events:
        await context.write(ServerMessage(**event))


async def end(context: Any, status: str, text: str, reason: str, retry_s: int = 0) -> None:
    """Ends the call as a server of Voxgate does."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="voxgate")]
    if retry_s:
        details.append(error_details_pb2.RetryInfo(retry_delay={"seconds": retry_s}))
    rich = status_pb2.Status(message=text, details=[Packed() for _ in details])
    for packed, detail in zip(rich.details, details, strict=True):
        packed.Pack(detail)
    await context.abort(grpc.StatusCode[status], text, (("grpc-status-details-bin", rich.SerializeToString()),))


async def heard_by(handler: Handler, **options: Any) -> list[Any]:
    async with serving(handler) as addr:
        return [event async for event in stream(SECOND, addr=addr, **options)]


def test_addresses():
    assert wire_at("native", "grpcs://host") == "grpc"
    assert wire_at("native", "ws://host") == "native"
    assert check_wire("grpc", "ws://host:1/api/v1/simple", START) == "grpc://host:1/api/v1/simple"
    with pytest.raises(ValueError, match="the deepgram wire needs an address that begins with ws"):
        check_wire("deepgram", "grpc://host:1/api/v1/segmented", START)
    with pytest.raises(ValueError, match="a token in the metadata alone"):
        check_wire("grpc", "grpc://host", Start(AudioFormat(1, 16_000, 16, False), token="secret"))


def test_a_stream():
    received: dict[str, Any] = {"audio": b"", "kinds": []}

    async def handler(messages, context):
        received["metadata"] = dict(context.invocation_metadata())
        await context.send_initial_metadata(ACCEPTED)
        async for message in messages:
            kind = message.WhichOneof("message")
            received["kinds"].append(kind)
            received["audio"] += message.audio
        await answer(context, *FINAL[:2], {"segment": {**FINAL[2]["segment"], "is_final": True, "output": {"n": 2}}})

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    events = asyncio.run(heard_by(handler, token="a-token", trace_id=trace, chunk_size=8000))
    assert events[-1] == Segment(0.0, 1.0, True, {"n": 2})
    assert received["kinds"] == ["start", *["audio"] * 4, "stop"]
    assert received["audio"] == bytes(32_000)
    assert received["metadata"]["authorization"] == "Bearer a-token"
    assert received["metadata"]["traceparent"] == trace


@pytest.mark.parametrize(
    ("status", "code", "http"),
    [
        ("RESOURCE_EXHAUSTED", "capacity", 503),
        ("UNAUTHENTICATED", "unauthorized", 401),
        ("INVALID_ARGUMENT", "invalid_request", 400),
        ("UNIMPLEMENTED", "not_served", 501),
    ],
)
def test_a_refusal(status, code, http):
    async def handler(messages, context):
        await end(context, status, "not you, Bearer a-long-token", code, 7)

    with pytest.raises(RefusedError, match=rf"^the server refused with {status}: not you, Bearer \*\*\*") as refused:
        asyncio.run(heard_by(handler, token="a-long-token"))
    assert (refused.value.status, refused.value.grpc_status, refused.value.retry_after) == (http, status, "7")


@pytest.mark.parametrize(
    ("status", "reason", "closed"),
    [
        ("UNAVAILABLE", "draining", 1001),
        ("DEADLINE_EXCEEDED", "idle_timeout_s", 1008),
        ("RESOURCE_EXHAUSTED", "message_bytes", 1009),
        ("RESOURCE_EXHAUSTED", "overloaded", 1013),
        ("INTERNAL", "internal", 1011),
    ],
)
def test_an_end_by_the_server(status, reason, closed):
    async def handler(messages, context):
        await context.send_initial_metadata(ACCEPTED)
        async for _ in messages:  # to the end: see `_end` in the client for what a write on its way may do
            pass
        await end(context, status, "enough", reason)

    with pytest.raises(ClosedError, match="enough") as ended:
        asyncio.run(heard_by(handler))
    assert (ended.value.received_code, ended.value.reason, ended.value.lost) == (closed, "enough", False)


def test_a_lost_connection_goes_on():
    """The second call has the audio from its beginning."""
    lengths: list[int] = []

    async def handler(messages, context):
        await context.send_initial_metadata(ACCEPTED)
        if not lengths:
            lengths.append(0)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "reset")
        lengths.append(sum([len(message.audio) async for message in messages]))

    asyncio.run(heard_by(handler, reconnect=Reconnect(first_wait_s=0)))
    assert lengths == [0, 32_000]


def test_no_server():
    with held_port() as port, pytest.raises(ConnectError, match="connection refused"):
        asyncio.run(_collect(f"grpc://127.0.0.1:{port}"))


async def _collect(addr: str) -> list[Any]:
    return [event async for event in stream(SECOND, addr=addr)]


def test_a_message_beyond_the_limit_of_the_transport_is_no_lost_connection():
    """It would come again with every connection."""
    n_calls = 0

    async def handler(messages, context):
        nonlocal n_calls
        n_calls += 1
        await context.send_initial_metadata(ACCEPTED)
        await anext(aiter(messages))
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")

    with pytest.raises(ClosedError, match="larger than max") as ended:
        asyncio.run(heard_by(handler, reconnect=Reconnect(first_wait_s=0, attempts=2)))
    assert (ended.value.received_code, ended.value.lost, n_calls) == (1009, False, 1)


def test_details_of_another_server_are_no_reason():
    async def handler(messages, context):
        await context.abort(grpc.StatusCode.INTERNAL, "not ours", (("grpc-status-details-bin", b"\xff"),))

    with pytest.raises(ConnectError, match="not ours"):
        asyncio.run(heard_by(handler))
