"""The native websocket as an endpoint, on ASGI messages alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from voxgate.endpoints.native import NativeWire
from voxgate.endpoints.websocket import WebSocket
from voxgate.endpoints.wire import CLOSE_CODES
from voxgate.errors import InvalidMessage
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Active
from voxgate.protocol.requests import KeepAlive
from voxgate.session.endpoint import Departure, Rejected

KEEP_ALIVE = '{"request":"keep_alive"}'
TOO_LARGE = Rejected(close=Close(CloseReason.TOO_LARGE, "message larger than 1024 bytes", "message_bytes"))


class Asgi:
    """The server's side of one websocket."""

    def __init__(self, *messages: dict[str, Any], failure: Exception | None = None, **extensions: Any) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []
        self.failure = failure
        self.tally = Tally()
        self.endpoint = WebSocket(NativeWire(), {"extensions": extensions}, self.receive, self.send, 1024, self.tally)

    async def receive(self) -> dict[str, Any]:
        return self.messages.pop(0)

    async def send(self, message: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append(message)

    def received(self) -> Any:
        return asyncio.run(self.endpoint.receive())


def text(text: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": text}


def binary(data: bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "bytes": data}


@pytest.mark.parametrize(
    ("message", "received"),
    [
        (text(KEEP_ALIVE), KeepAlive()),
        (text(KEEP_ALIVE + " " * (1024 - len(KEEP_ALIVE))), KeepAlive()),
        (text(" " * 1025), TOO_LARGE),
        (text("é" * 513), TOO_LARGE),
        (binary(b"ab"), b"ab"),
        (binary(b""), b""),
        (binary(b"a" * 1024), b"a" * 1024),
        (binary(b"a" * 1025), TOO_LARGE),
    ],
)
def test_messages(message: dict[str, Any], received: Any) -> None:
    assert Asgi(message).received() == received


@pytest.mark.parametrize("junk", ["{", "", "é" * 512, "[]", '{"request":"foo"}'])
def test_junk(junk: str) -> None:
    rejected = Asgi(text(junk)).received()
    assert isinstance(rejected.error, InvalidMessage)
    assert rejected.close is None


def test_it_counts_what_it_does_not_pass_on() -> None:
    asgi = Asgi(text("ü" * 600), binary(b"a" * 1025), binary(b"abc"), text("{"))
    for _ in range(4):
        asgi.received()
    tally = asgi.tally
    assert (tally.text_in, tally.text_in_bytes, tally.binary_in, tally.binary_in_bytes) == (2, 1201, 1, 1025)


@pytest.mark.parametrize(
    ("frame", "departure"),
    [
        ({}, Departure(LEFT, 1005)),
        ({"code": 1000}, Departure(LEFT, 1000)),
        ({"code": 1001, "reason": "bye"}, Departure(LEFT, 1001)),
        ({"code": 1006}, Departure(LOST, 1006)),
        ({"code": 1002}, Departure(CloseReason.INVALID, 1002)),
        ({"code": 1007}, Departure(CloseReason.INVALID, 1007)),
        ({"code": 1009, "reason": "too big"}, Departure(CloseReason.TOO_LARGE, 1009, "message_bytes")),
        ({"code": 1009, "reason": "9 fragments"}, Departure(CloseReason.TOO_LARGE, 1009, "message_fragments")),
        ({"code": 1008, "reason": "timeout"}, Departure(CloseReason.TIMEOUT, 1008, "message_timeout_s")),
        ({"code": 1008, "reason": "no"}, Departure(LEFT, 1008)),
    ],
)
def test_departures(frame: dict[str, Any], departure: Departure) -> None:
    asgi = Asgi({"type": "websocket.disconnect", **frame})
    assert asgi.endpoint.departure == Departure(LOST, 1006)
    assert asgi.received() is None
    assert asgi.endpoint.departure == departure


def test_what_it_sends() -> None:
    async def main() -> None:
        asgi = Asgi()
        (message,) = asgi.endpoint.encode(Active(1.5))
        assert isinstance(message, str)
        assert json.loads(message) == {"type": "active", "time": 1.5, "channel": 0}
        await asgi.endpoint.send(message)
        await asgi.endpoint.send(b"ab")
        await asgi.endpoint.close(Close(CloseReason.TIMEOUT, "timeout"))
        assert asgi.sent == [
            {"type": "websocket.send", "text": message},
            {"type": "websocket.send", "bytes": b"ab"},
            {"type": "websocket.close", "code": 1008, "reason": "timeout"},
        ]

    asyncio.run(main())


@pytest.mark.parametrize("failure", [ConnectionResetError(), RuntimeError("closed")])
def test_a_client_that_is_gone_is_no_error(failure: Exception) -> None:
    async def main() -> None:
        endpoint = Asgi(failure=failure).endpoint
        await endpoint.send("x")
        await endpoint.close(Close(CloseReason.COMPLETED))

    asyncio.run(main())


def test_every_reason_has_a_close_code() -> None:
    assert set(CLOSE_CODES) == set(CloseReason)
    endpoint = Asgi().endpoint
    assert [endpoint.code_of(Close(reason)) for reason in CloseReason] == [
        *(1000, 1008, 1009, 1008, 1008, 1013, 1001, 1011),
    ]


def test_the_shortcut_is_the_servers() -> None:
    def listener(data: bytes) -> bool:
        return True

    given: list[tuple[Callable[[bytes], bool] | None, object]] = []
    endpoint = Asgi(**{"voxgate.shortcut": lambda *both: given.append(both)}).endpoint
    endpoint.listen(listener)
    endpoint.listen(None)
    assert given == [(listener, None), (None, None)]  # audio of this wire comes in binary messages alone
    Asgi().endpoint.listen(listener)  # other servers have none


def test_messages_leave_at_once_where_the_server_can() -> None:
    written: list[str | bytes] = []

    def write(message: str | bytes) -> bool:
        written.append(message)
        return len(written) < 3

    endpoint = Asgi(**{"voxgate.write": write}).endpoint
    assert [endpoint.write(message) for message in ("a", b"b", "c")] == [True, True, False]
    assert written == ["a", b"b", "c"]
    assert not Asgi().endpoint.write("a")  # other servers cannot
