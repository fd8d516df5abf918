"""Before the upgrade: a request has a time and a size, whoever sends it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from helpers.http_client import HttpClient, chunk, until
from helpers.logged import logged
from helpers.raw import BINARY, PING, PONG, Raw, frame, text, upgrade
from helpers.wire import STOP, refused, start
from voxgate.config import load_config
from voxgate.server import handshake, http, websocket
from voxgate.server.http import REQUEST_BYTES
from voxgate.service.access import Hook

UPGRADE = upgrade("/api/v1/segmented")
HEALTH = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "beginning",
    [b"", b"G", UPGRADE[:-2], UPGRADE[:-2] + b"X-More: ", HEALTH, HEALTH + HEALTH[:20]],
    ids=["nothing", "a byte", "no end", "a header", "idle after one", "half of another"],
)
def test_a_connection_without_a_request_is_cut_off(serve, beginning):
    server = serve(**{"limits.handshake_timeout_s": 0.2})
    with server.standing_still():
        raw = Raw(server.port)
        raw.send(beginning)
    with raw:
        answer = raw.wait_for_end()
        assert answer.count(b"200 OK") == beginning.count(HEALTH)


def test_a_request_that_never_ends_is_cut_off_for_its_time(serve):
    """Byte by byte: what is sent in between does not count."""
    with Raw(serve(**{"limits.handshake_timeout_s": 0.2}).port) as raw:
        raw.send(b"GET / HTTP/1.1\r\nX-Long: ")
        raw.socket.settimeout(0.01)
        is_open = True
        while is_open:
            with contextlib.suppress(TimeoutError):
                try:
                    is_open = raw.send(b"x") and raw.socket.recv(1) != b""
                except ConnectionError:
                    is_open = False


def test_the_time_ends_with_the_upgrade(serve):
    server = serve(**{"limits.handshake_timeout_s": 0.2, "limits.start_timeout_s": 0.5})
    with server.standing_still():
        raw = Raw(server.port)
        raw.send(UPGRADE)
    with raw:
        assert raw.response()[0] == 101
        events = raw.rest()
        assert (events[0]["message"], raw.close_code) == ("no start within 0.5 s of connecting", 1008)


def refusal(raw: Raw) -> tuple[int, str]:
    """Status and code of an answer, which is JSON, and behind which the connection ends."""
    status, headers, body = raw.response()
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert raw.wait_for_end() == b""
    told = json.loads(body)
    assert sorted(told) == ["code", "error"]
    return status, told["code"]


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/segmented"], ids=["http", "websocket"])
def test_a_request_has_a_size(serve, unhurried, caplog, path):
    """The same for both, whatever its headers are."""
    server = serve()

    def request(**headers: str) -> bytes:
        if "segmented" in path:
            return upgrade(path, host="127.0.0.1", **headers)
        return upgrade(path, host="127.0.0.1", upgrade=None, connection="close", **headers)

    def status_of(data: bytes) -> int:
        with Raw(server.port) as raw:
            raw.send(data)
            return raw.response()[0]

    served = 101 if "segmented" in path else 200
    assert status_of(request(x_long="x" * 60_000)) == served
    assert status_of(request(**{f"x_{number}": "x" for number in range(1000)})) == served
    n_bytes = len(request(x_long=""))
    assert status_of(request(x_long="x" * (REQUEST_BYTES - n_bytes))) == served
    for data in (request(x_long="x" * (REQUEST_BYTES - n_bytes + 1)), request(x_long="x" * 4_000_000)):
        with Raw(server.port) as raw:
            raw.send(data)
            assert refusal(raw) == (431, "request_too_large")
    assert logged(caplog) == []


def test_a_body_has_a_size(serve):
    with Raw(serve().port) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000))
        answers = raw.wait_for_end()
        assert answers.startswith((b"HTTP/1.1 405", b"HTTP/1.1 413"))  # the application may be faster
        assert answers.count(b"HTTP/1.1") == 1


LIVE = b"POST /api/v1/simple HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_that_is_read_has_no_size(serve):
    """In the packet of the headers, and in chunks of any length."""
    for n_bytes in (2, 65_536, 200_000, 5_000_000):
        with HttpClient(serve().port) as client:
            client.send(LIVE + chunk(bytes(n_bytes)) + b"0\r\n\r\n")
            assert client.head()[0] == 200
            assert sum(event["count"] for event in client.events()) == n_bytes // 2


def test_the_framing_of_a_body_is_small_however_long_it_is(serve):
    """A chunk for each sample: the framing takes far more than a request may."""
    with HttpClient(serve().port) as client:
        client.send(LIVE + chunk(b"\0\0") * 20_000 + b"0\r\n\r\n")
        assert client.head()[0] == 200
        assert sum(event["count"] for event in client.events()) == 20_000


@pytest.mark.parametrize("framing", [b"0\r\nx-trailer: ", b"1;"], ids=["trailer", "chunk extension"])
def test_framing_without_end_is_cut_off(serve, framing):
    with HttpClient(serve().port) as client:
        client.send(LIVE + chunk(bytes(3200)) + framing)
        while client.send(b"x" * 100_000):
            pass
        assert client.wait_for_end().startswith((b"HTTP/1.1 200", b"HTTP/1.1 413"))


def test_trailers_are_no_headers(serve):
    with HttpClient(serve().port) as client:
        client.send(LIVE + chunk(bytes(3200)) + b"0\r\nx-first: 1\r\nexpect: 100-continue\r\n\r\n" + HEALTH)
        assert client.head()[0] == 200
        assert sum(event["count"] for event in client.events()) == 1600
        assert client.response()[0] == 200


def test_an_answer_that_ends_before_the_body_ends_the_connection(serve):
    server = serve(**{"limits.idle_timeout_s": 0.1})
    with HttpClient(server.port) as client:
        client.send(LIVE)
        assert client.head()[0] == 200
        assert client.event()["code"] == "timeout"
        assert client.event() is None
        assert client.wait_for_end() == b""
    until(lambda: server.service.streams == 0)


def test_requests_behind_a_stream_wait_for_their_turn(serve):
    with HttpClient(serve().port) as client:
        client.send((LIVE + chunk(bytes(100_000)) + b"0\r\n\r\n") * 3 + HEALTH)
        for _ in range(3):
            assert client.head()[0] == 200
            assert sum(event["count"] for event in client.events()) == 50_000
        assert client.response()[0] == 200


def test_a_token_of_the_greatest_length_opens_a_websocket(serve):
    token = "x" * 16_384
    server = serve(**{"auth.tokens": token})
    with Raw(server.port).open(authorization=f"Bearer {token}"):
        pass
    assert refused(server.url(), additional_headers={"Authorization": f"Bearer {token[1:]}"})[0] == 401


def test_frames_in_the_packet_of_the_request_are_received(serve):
    """However many, and however the whole is cut."""
    server = serve()
    wire = UPGRADE + text(start()) + frame(PING, b"early") + frame(BINARY, bytes(200_000)) + text(STOP)
    ahead = len(UPGRADE)
    for cut in (len(wire), ahead, ahead - 1, ahead + 1, ahead + 7, 100_000):
        with Raw(server.port) as raw:
            raw.send(wire[:cut])
            raw.send(wire[cut:])
            assert raw.response()[0] == 101
            assert (raw.rest(), raw.close_code, raw.pongs) == ([], 1000, [b"early"])


def test_no_frame_is_answered_before_the_upgrade(serve):
    """The check of a token takes its time, and the frames of the client wait for its end."""
    asked, answer = threading.Event(), threading.Event()

    def check(token: str) -> bool:
        asked.set()
        assert answer.wait(30)
        return True

    server = serve(**{"auth.tokens": "other"})
    server.service.gate.hook = Hook(check, "check", 30, 4)
    with Raw(server.port) as raw:
        raw.send(upgrade("/api/v1/simple", authorization="Bearer good"))
        assert asked.wait(30)
        raw.send(frame(PING, b"?"))
        answer.set()
        assert raw.response()[0] == 101
        assert raw.receive_frame() == (PONG, b"?")


@pytest.mark.parametrize(
    "request_",
    [
        upgrade("/api/v1/simple", content_length="3") + b"abc",
        upgrade("/api/v1/simple", content_length="3"),
        upgrade("/api/v1/simple", content_length="4000000") + bytes(4_000_000),
        upgrade("/api/v1/simple", transfer_encoding="chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["body", "body to come", "large body", "chunks"],
)
def test_an_upgrade_with_a_body_is_refused(serve, request_):
    with Raw(serve().port) as raw:
        raw.send(request_)
        assert refusal(raw) == (400, "bad_handshake")


def test_an_empty_body_is_none(serve):
    Raw(serve().port).open(content_length="0").socket.close()


@pytest.mark.parametrize(
    ("request_", "status", "code", "kept"),
    [
        (upgrade("/api/v1/simple", sec_websocket_version="12"), 400, "bad_handshake", ("sec-websocket-version", "13")),
        (upgrade("/api/v1/simple", sec_websocket_version=None), 400, "bad_handshake", ("sec-websocket-version", "13")),
        (upgrade("/api/v1/simple", sec_websocket_key=None), 400, "bad_handshake", None),
        (upgrade("/api/v1/simple", sec_websocket_key="short"), 400, "bad_handshake", None),
        (upgrade("/api/v1/simple").replace(b"GET", b"PUT"), 405, "bad_handshake", ("allow", "GET")),
        (upgrade("/api/v1/simple").replace(b"HTTP/1.1", b"HTTP/1.0"), 505, "bad_handshake", None),
        (b"no HTTP\r\n\r\n" + bytes(4_000_000), 400, "bad_request", None),
    ],
)  # fmt: skip
def test_what_is_no_handshake_gets_json(serve, request_, status, code, kept):
    with Raw(serve().port) as raw:
        raw.send(request_)
        got, headers, body = raw.response()
        assert (got, json.loads(body)["code"]) == (status, code)
        assert kept is None or headers[kept[0]] == kept[1]


def test_the_scope_of_a_websocket():
    http_scope = {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "https",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        "root_path": "",
        "state": {},
        "headers": [(b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-protocol", b"c"), (b"x", b"\xfc")],
    }
    assert handshake.scope_of(http_scope, b"/a%20b?c=%20") == {
        **http_scope,
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "scheme": "wss",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20",
        "subprotocols": ["a", "b", "c"],
        "extensions": {"websocket.http.response": {}},
    }


def test_requests_sent_ahead_are_bounded(serve, unhurried, caplog):
    server = serve()
    with Raw(server.port) as raw:
        raw.send(HEALTH * 10)
        for _ in range(10):
            raw.read_until(b'{"status":"healthy"}')
        raw.send(HEALTH * 1000)
        assert b"HTTP/1.1 400" in raw.wait_for_end()
    assert logged(caplog) == []


def test_no_upgrade_before_the_answer_to_the_request_before(serve):
    with Raw(serve().port) as raw:
        raw.send(HEALTH + UPGRADE)
        answer = raw.wait_for_end()
        assert b"HTTP/1.1 400" in answer
        assert b"HTTP/1.1 101" not in answer
    with Raw(serve().port) as raw:
        raw.send(HEALTH)
        raw.read_until(b'{"status":"healthy"}')
        raw.send(UPGRADE)
        raw.read_until(b"HTTP/1.1 101")


def test_what_is_no_request_fills_no_log(serve, unhurried, caplog):
    server = serve()
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ):
        with Raw(server.port) as raw:
            raw.send(nonsense)
            raw.socket.shutdown(1)
            assert raw.wait_for_end().startswith(b"HTTP/1.1 ")
    assert logged(caplog) == []


@pytest.mark.parametrize("ahead", [b"", HEALTH * 3], ids=["one request", "more behind it"])
@pytest.mark.parametrize("is_noticed", [False, True])
def test_who_hangs_up_before_the_answer_is_no_news(serve, unhurried, caplog, ahead, is_noticed):
    """The answer that is being made is not that of the request which came last."""
    server = serve()
    asked, gone = threading.Event(), threading.Event()
    expose = server.service.metrics.expose

    async def late(*arguments: str) -> object:
        asked.set()
        while not gone.is_set() or (is_noticed and server.server.server_state.connections):
            await asyncio.sleep(0)
        return await expose(*arguments)

    server.service.metrics.expose = late
    with Raw(server.port) as raw:
        raw.send(METRICS + ahead)
        assert asked.wait(30)
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    server.stop()  # then everything has come to its end
    assert logged(caplog) == []


@pytest.mark.parametrize("client_leaves", [True, False])
def test_the_end_of_the_server_with_a_request_that_is_not_answered_logs_no_error(serve, caplog, client_leaves):
    server = serve()
    asked = threading.Event()

    async def never() -> list[str]:
        asked.set()
        await asyncio.Event().wait()
        return []

    server.service.metrics.peers = never
    with Raw(server.port) as raw:
        raw.send(METRICS)
        assert asked.wait(30)
        if client_leaves:
            raw.socket.close()
        server.stop()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# What is used of uvicorn


def test_private_names_of_uvicorn_are_listed_and_there():
    source = Path(http.__file__).read_text()
    private = {name for name in dir(HttpToolsProtocol) if re.fullmatch(r"_[a-z]\w*", name)}
    used = {name for name in re.findall(r"(?:self|super\(\))\.(_[a-z]\w*)", source) if name in private}
    assert used == set(http.PRIVATE_OF_UVICORN)
    assert not [kind for kind in websocket.WebSocketProtocol.__mro__ if kind.__module__.startswith("uvicorn")]


def test_what_an_http_connection_of_uvicorn_has():
    """Attributes without an underscore, which no page of uvicorn names either."""

    async def app(scope, receive, send):
        raise AssertionError("never asked")

    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    connection = HttpToolsProtocol(config, ServerState(), {}, asyncio.new_event_loop())
    connection.loop.close()
    names = (
        "app_state config connections cycle flow headers loop parser pipeline server_state transport ws_protocol_class"
    )
    assert [name for name in names.split() if not hasattr(connection, name)] == []
    assert (connection.cycle, list(connection.pipeline)) == (None, [])


# The shortcut of live audio


class Transport:
    """A connection without a socket."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += data

    def nothing(self) -> None:
        pass

    pause_reading = resume_reading = close = abort = nothing


POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def hear(reads: list[bytes], takes: Callable[[bytes], bool], waits: int = 0) -> list[bytes]:
    """What the application gets of these reads, by the shortcut and by `receive`, in its order. It hesitates for
    `waits` turns of the loop before it receives.
    """
    heard: list[bytes] = []

    async def app(scope, receive, send):
        def listen(data: bytes) -> bool:
            assert len(data) > 0
            if takes(data):
                heard.append(data)
                return True
            return False

        if b"chunked" not in dict(scope["headers"]).values():
            heard.append(b"next request")
        is_first = True
        while True:
            for _ in range(waits):
                await asyncio.sleep(0)
            message = await receive()
            if is_first:
                scope["extensions"][http.SHORTCUT](listen)
                is_first = False
            heard.append(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def main() -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        kind = type("Protocol", (http.HttpProtocol,), {"settings": load_config(environ={})})
        state = ServerState()
        protocol = kind(config=config, server_state=state, app_state={})
        protocol.connection_made(Transport())
        protocol.data_received(POST)
        for read in reads:
            await asyncio.sleep(0)
            protocol.data_received(read)
        for _ in range(100):
            await asyncio.sleep(0)
        scope = protocol.scope
        protocol.connection_lost(None)
        assert state.tasks == set()
        assert scope["extensions"] == {}
        assert protocol._listener is None

    asyncio.run(main())
    return heard


@given(
    st.lists(st.lists(st.integers(1, 5000), max_size=5), max_size=6),
    st.integers(0, 3),
    st.lists(st.booleans(), max_size=30),
)
@settings(max_examples=50)
def test_a_body_comes_in_its_order_by_whichever_way(sizes, waits, answers):
    values, pieces, answer = itertools.cycle(range(256)), [], iter(answers)
    for group in sizes:
        pieces.append([bytes(itertools.islice(values, size)) for size in group])
    reads = [b"".join(map(chunk, group)) for group in pieces]
    heard = hear([*reads, b"0\r\n\r\n"], lambda data: next(answer, True), waits)
    assert b"".join(heard) == b"".join(itertools.chain.from_iterable(pieces))


def test_live_audio_does_not_wake_the_application():
    pieces, taken = [bytes([number]) * 640 for number in range(10)], []
    heard = hear([*map(chunk, pieces), b"0\r\n\r\n"], lambda data: not taken.append(data))
    assert heard == [*pieces, b""]
    assert taken == pieces[1:]


@pytest.mark.parametrize(("size", "n_heard"), [(1, 64), (256, 64), (6000, 3)])
def test_one_turn_of_the_loop_takes_a_bounded_part_of_a_body(size, n_heard):
    """The rest goes to the application's task, which lets other connections have their turn."""
    taken: list[bytes] = []
    first = chunk(b"x")
    heard = hear([first, chunk(b"y" * size) * 100, b"0\r\n\r\n"], lambda data: not taken.append(data))
    assert heard[0] == b"x"
    assert len(taken) == n_heard
    assert b"".join(heard) == b"x" + b"y" * (size * 100)


def test_the_listener_is_for_one_request():
    """Pipelined behind it: the body of the next is offered to no one."""
    behind = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nabcde"
    taken: list[bytes] = []
    heard = hear([chunk(b"x"), chunk(b"y"), b"0\r\n\r\n" + behind], lambda data: not taken.append(data))
    assert heard == [b"x", b"y", b"", b"next request", b"abcde"]
    assert taken == [b"y"]
