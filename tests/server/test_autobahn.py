"""The cases of the Autobahn test suite that apply to a server without extensions, on real sockets, against an echo.

Its numbers: 1 framing, 2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closes, 9 limits. 12 and
13 are about compression, which the server does not offer. On uvloop and on asyncio's own loop.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
import uvloop

from helpers.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame
from voxgate.config import load_config
from voxgate.server.http import HttpProtocol
from voxgate.server.websocket import WebSocketProtocol


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


class EchoServer:
    def __init__(self, loop_factory: Any) -> None:
        limits = {"limits.message_bytes": 1 << 24, "limits.frames_per_second": 10**6}
        settings = load_config(environ={}, overrides=limits)
        for_us = {"settings": settings}
        self._config = uvicorn.Config(
            echo,
            http=type("HttpProtocol", (HttpProtocol,), for_us),
            ws=type("WebSocketProtocol", (WebSocketProtocol,), for_us),
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self._config.load()
        self._loop_factory = loop_factory
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.problems: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> EchoServer:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.problems == []

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._loop.set_exception_handler(lambda _, context: self.problems.append(context))
            state = uvicorn.server.ServerState()
            made: Any = self._config.http_protocol_class
            server = await self._loop.create_server(
                lambda: made(config=self._config, server_state=state, app_state={}), sock=self._listener
            )
            self._ready.set()
            await self._end.wait()
            server.close()
            for connection in list(state.connections):
                connection.shutdown()
            while state.connections:
                await asyncio.sleep(0.001)

        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(main())


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with EchoServer(request.param) as server:
        yield server.port


GOODBYE = frame(CLOSE, (1000).to_bytes(2))


def exchange(port: int, *sent: bytes, by_byte: bool = False) -> list[tuple[int, bytes]]:
    """All frames that come back; the connection must end properly."""
    with Raw(port) as raw:
        raw.open("/")
        for data in sent:
            for piece in [data[k : k + 1] for k in range(len(data))] if by_byte else [data]:
                if not raw.send(piece):
                    break
        came = []
        while (one := raw.receive_frame()) is not None:
            came.append(one)
            if one[0] == CLOSE:
                raw.send(frame(CLOSE, one[1]))
                raw.wait_for_end()
                break
        assert came, "the connection ended without a close frame"
        assert came[-1][0] == CLOSE
        return came


def fails(port: int, code: int, *sent: bytes, before: tuple[tuple[int, bytes], ...] = ()) -> None:
    *others, (_, payload) = exchange(port, *sent)
    assert (tuple(others), int.from_bytes(payload[:2])) == (before, code)


CLOSED = (CLOSE, (1000).to_bytes(2))


@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_1_framing(port, opcode, size):
    data = b"*" * size
    assert exchange(port, frame(opcode, data), GOODBYE) == [(opcode, data), CLOSED]
    wire = frame(opcode, data)
    chops = [wire[k : k + 997] for k in range(0, len(wire), 997)]
    assert exchange(port, *chops, GOODBYE) == [(opcode, data), CLOSED]


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
def test_2_pings(port, payload):
    assert exchange(port, frame(PING, payload), GOODBYE) == [(PONG, payload), CLOSED]
    assert exchange(port, frame(PING, payload), GOODBYE, by_byte=True) == [(PONG, payload), CLOSED]
    assert exchange(port, frame(PONG, payload), frame(PING, b"!"), GOODBYE) == [(PONG, b"!"), CLOSED]


def test_2_many_pings_and_one_that_is_too_long(port):
    pings = [frame(PING, b"payload-%d" % number) for number in range(10)]
    expected = [(PONG, b"payload-%d" % number) for number in range(10)]
    assert exchange(port, *pings, GOODBYE) == [*expected, CLOSED]
    assert exchange(port, b"".join(pings) + GOODBYE) == [*expected, CLOSED]
    fails(port, 1002, frame(PING, b"\xfe" * 126))


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_3_reserved_bits(port, opcode, reserved):
    fails(port, 1002, frame(opcode, b"", reserved=reserved))
    hello = (TEXT, b"Hello")
    fails(port, 1002, frame(TEXT, b"Hello") + frame(opcode, b"x", reserved=reserved) + frame(PING), before=(hello,))


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_4_opcodes(port, opcode):
    fails(port, 1002, frame(opcode))
    fails(port, 1002, frame(opcode, b"payload"))
    fails(port, 1002, frame(TEXT, b"Hello"), frame(opcode, b"") + frame(PING), before=((TEXT, b"Hello"),))


def test_5_fragments(port):
    parts = frame(TEXT, b"frag1", fin=False), frame(CONTINUATION, b"frag2", fin=False), frame(CONTINUATION, b"frag3")
    message, pong = (TEXT, b"frag1frag2frag3"), (PONG, b"ping")
    ping = frame(PING, b"ping")
    assert exchange(port, *parts, GOODBYE) == [message, CLOSED]
    assert exchange(port, b"".join(parts) + GOODBYE) == [message, CLOSED]
    assert exchange(port, b"".join(parts) + GOODBYE, by_byte=True) == [message, CLOSED]
    assert exchange(port, parts[0], ping, parts[1], ping, parts[2], GOODBYE) == [pong, pong, message, CLOSED]
    empty = frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, b"")
    assert exchange(port, empty, GOODBYE) == [(BINARY, b""), CLOSED]


@pytest.mark.parametrize(
    "wire",
    [
        frame(PING, b"frag1", fin=False) + frame(CONTINUATION, b"frag2"),
        frame(PONG, b"frag1", fin=False) + frame(CONTINUATION, b"frag2"),
        frame(CONTINUATION, b"alone"),
        frame(CONTINUATION, b"alone", fin=False),
        frame(TEXT, b"frag1", fin=False) + frame(TEXT, b"frag2"),
        frame(TEXT, b"frag1", fin=False) + frame(BINARY, b"frag2", fin=False),
    ],
    ids=["ping", "pong", "continuation", "continuation to go on", "text in text", "binary in text"],
)
def test_5_fragments_out_of_place(port, wire):
    fails(port, 1002, wire)


@pytest.mark.parametrize("text", ["Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\U0010ffff", "\ufffe", "\x00", "𝄞" * 33])
def test_6_text(port, text):
    data = text.encode()
    assert exchange(port, frame(TEXT, data), GOODBYE) == [(TEXT, data), CLOSED]
    parts = [frame(TEXT, data[:1], fin=False)]
    parts += [frame(CONTINUATION, data[k : k + 1], fin=False) for k in range(1, len(data) - 1)]
    parts += [frame(CONTINUATION, data[-1:] if len(data) > 1 else b"")]
    assert exchange(port, b"".join(parts) + GOODBYE) == [(TEXT, data), CLOSED]


BAD_TEXTS = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\x80", b"\xc0\xaf",
    b"\xff",
    b"\xe0\x80\x80", b"\xed\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x90\x80",
]  # fmt: skip


@pytest.mark.parametrize("data", BAD_TEXTS)
def test_6_text_that_is_none(port, data):
    fails(port, 1007, frame(TEXT, data))
    fails(port, 1007, frame(TEXT, data[:1], fin=False), frame(CONTINUATION, data[1:]))


def test_6_text_is_refused_at_once(port):
    """6.4: in the middle of a frame that has not ended."""
    fails(port, 1007, frame(TEXT, b"\xce\xba\xf4\x90\x80\x80" + b"x" * 100)[:20])
    fails(port, 1007, frame(TEXT, b"\xce\xba", fin=False) + frame(CONTINUATION, b"\xf4\x90", fin=False))


@pytest.mark.parametrize(
    "payload",
    [b"", *(code.to_bytes(2) for code in (*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999))],
)
def test_7_closes(port, payload):
    assert exchange(port, frame(CLOSE, payload)) == [(CLOSE, payload)]
    assert exchange(port, frame(CLOSE, payload) + frame(PING) + frame(TEXT, b"late")) == [(CLOSE, payload)]


def test_7_closes_with_a_reason(port):
    payload = (1000).to_bytes(2) + "é".encode() * 61
    assert exchange(port, frame(TEXT, b"Hello"), frame(CLOSE, payload)) == [(TEXT, b"Hello"), (CLOSE, payload)]
    assert exchange(port, frame(TEXT, b"half", fin=False) + frame(CLOSE, payload)) == [(CLOSE, payload)]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_7_codes_that_must_not_be_sent(port, code):
    fails(port, 1002, frame(CLOSE, code.to_bytes(2)))
    fails(port, 1002, frame(CLOSE, code.to_bytes(2) + b"reason"))


def test_7_closes_that_are_none(port):
    fails(port, 1002, frame(CLOSE, b"\x03"))
    fails(port, 1002, frame(CLOSE, (1000).to_bytes(2) + b"*" * 124))
    fails(port, 1007, frame(CLOSE, (1000).to_bytes(2) + b"\xce\xba\xed\xa0\x80"))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_9_limits(port, opcode):
    data = b"*" * (1 << 22)
    assert exchange(port, frame(opcode, data), GOODBYE) == [(opcode, data), CLOSED]
    wire = frame(opcode, data[: 1 << 18], fin=False) + frame(CONTINUATION, data[: 1 << 18], fin=False) * 14
    wire += frame(CONTINUATION, data[: 1 << 18])
    assert exchange(port, wire, GOODBYE) == [(opcode, data), CLOSED]
    fails(port, 1009, frame(opcode, b"", length=(1 << 24) + 1))


def test_9_many_small_messages(port):
    wire = frame(TEXT, b"x" * 16) * 1000
    assert exchange(port, wire + GOODBYE) == [(TEXT, b"x" * 16)] * 1000 + [CLOSED]


def test_two_servers_on_two_threads():
    """Each with its own loop, and memory to read into."""
    with EchoServer(uvloop.new_event_loop) as one, EchoServer(asyncio.new_event_loop) as two:
        failures: list[BaseException] = []

        def run(port: int, byte: bytes) -> None:
            try:
                for size in range(1, 3000, 37):
                    data = byte * size
                    assert exchange(port, frame(BINARY, data) * 2, GOODBYE) == [(BINARY, data)] * 2 + [CLOSED]
            except BaseException as error:
                failures.append(error)

        both = (one, b"1"), (two, b"2")
        threads = [threading.Thread(target=run, args=(server.port, byte)) for server, byte in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
