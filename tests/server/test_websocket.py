"""What a websocket client can do below the messages, and what becomes of it. Others must not notice."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from helpers.logged import logged
from helpers.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame, text, upgrade
from helpers.wire import PAUSE, STOP, Client, start
from voxgate.config import load_config
from voxgate.server import closing, handshake, websocket


class NoReader:
    """As on a system without epoll: the transports read."""

    def add(self, *args: Any) -> bool:
        return False

    start = stop = remove = add


@pytest.fixture(params=["reader", "transport"])
def read_by(request, monkeypatch) -> str:
    if request.param == "transport":
        monkeypatch.setattr(websocket, "SocketReader", NoReader)
    return request.param


def test_a_plain_socket_is_read_by_the_reader_until_the_close_frame_is_sent(serve, read_by):
    server = serve()
    with Raw(server.port).open("/api/v1/simple") as raw:
        raw.say(start(), *[bytes(320)] * 20)
        raw.send(frame(PING))
        assert raw.receive_frame() == (PONG, b"")
        (protocol,) = server.server._websockets()
        if read_by == "reader":
            assert (len(protocol.reader), protocol.transport.is_reading()) == (1, False)
        else:
            assert protocol.transport.is_reading()
        raw.say(STOP)
        assert sum(event["count"] for event in raw.rest()) == 3200
        assert raw.close_code == 1000
        if read_by == "reader":
            assert len(protocol.reader) == 0


def test_what_ends_reading_ends_the_connection_as_the_transport_would():
    async def main() -> None:
        loop, contexts = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        config = uvicorn.Config("app", lifespan="off", log_config=None)
        kind = type("Protocol", (websocket.WebSocketProtocol,), {"settings": load_config(environ={})})
        for error, ended in ((None, "closed"), (ConnectionResetError(), "aborted"), (ZeroDivisionError(), "aborted")):
            protocol = kind(config=config, server_state=ServerState(), app_state={})
            transport = Transport()
            protocol.connection_made(transport)
            protocol.on_read_end(error)
            assert transport.ended == ended
        assert [(type(context["exception"]), context["transport"]) for context in contexts] == [
            (ZeroDivisionError, transport)
        ]

    asyncio.run(main())


@pytest.mark.parametrize(
    "beginning",
    [
        frame(BINARY, bytes(10), length=100),
        frame(BINARY, bytes(10), length=100)[:3],
        frame(BINARY, bytes(10), length=100)[:2],
        frame(BINARY, bytes(10), length=100)[:6],
        frame(BINARY, bytes(10), fin=False),
        frame(TEXT, b"{", fin=False) + frame(PING, b"still here") + frame(CONTINUATION, b"", fin=False),
        frame(TEXT, b"{}") + frame(TEXT, b"{", fin=False),
    ],
    ids=["frame", "header", "two bytes", "header alone", "fragment", "fragments", "after another"],
)
def test_a_message_that_is_not_ended_in_time(serve, beginning, monkeypatch):
    monkeypatch.setattr(closing, "CLOSE_TIMEOUT_S", 0.1)  # where a payload is due, no close frame is found
    with Raw(serve(**{"limits.message_timeout_s": 0.2}).port).open() as raw:
        raw.say(start())
        raw.send(beginning)
        events = raw.rest()
    assert events[-1]["code"] == "timeout"
    assert events[-1]["message"] == "a message was not complete within 0.2 s"
    assert raw.close_code == 1008


@pytest.mark.parametrize("payload", [b"", bytes(2)])
def test_fragments_are_counted(serve, payload):
    server = serve(**{"limits.message_fragments": 5})
    with Raw(server.port).open() as raw:
        raw.say(start())
        for _ in range(3):
            raw.send(frame(BINARY, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * 3)
            raw.send(frame(CONTINUATION, payload))
        raw.send(frame(BINARY, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * 5000)
        assert (raw.rest(), raw.close_code) == ([], 1009)


def test_fragments_together_are_one_message_with_one_limit(serve):
    server = serve(**{"limits.message_bytes": 2000})
    with Raw(server.port).open() as raw:
        raw.say(start())
        raw.send(frame(BINARY, bytes(1000), fin=False) + frame(CONTINUATION, bytes(1001), fin=False))
        assert (raw.rest(), raw.close_code) == ([], 1009)


def test_who_sends_too_many_frames_is_held_back_and_not_closed(serve, read_by, monkeypatch):
    held = threading.Event()
    hold = websocket.WebSocketProtocol._hold
    monkeypatch.setattr(websocket.WebSocketProtocol, "_hold", lambda self: (hold(self), held.set())[0])
    server = serve(**{"limits.frames_per_second": 10})
    with Raw(server.port).open() as raw:
        raw.say(start())
        raw.send(b"".join(frame(PING, b"%d" % number) for number in range(25)) + text(PAUSE))
        assert [raw.receive_frame() for _ in range(9)] == [(PONG, b"%d" % number) for number in range(9)]
        assert held.wait(30)
        assert [raw.receive_frame() for _ in range(16)] == [(PONG, b"%d" % number) for number in range(9, 25)]


def test_a_client_that_does_not_read_is_not_read_from_and_cut_off(serve, read_by, monkeypatch):
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")  # it would be the kernel that does it
    server = serve(**{"server.send_timeout_s": 1, "limits.frames_per_second": 1_000_000})
    with Raw(server.port).open() as raw:
        pings = frame(PING, bytes(125)) * 1000
        while raw.send(pings):  # until our own kernel has no room, and then until we are cut off
            for protocol in server.server._websockets():
                assert protocol.transport.get_write_buffer_size() < 100_000


def test_a_client_that_does_not_answer_the_close_frame_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(closing, "CLOSE_TIMEOUT_S", 0.1)
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.say(STOP)
        assert raw.receive_frame() == (CLOSE, (1000).to_bytes(2))
        raw.send(frame(PING) * 10)
        raw.wait_for_end()  # it comes


@pytest.mark.parametrize(
    "wrong",
    [b"\x82\x01a", frame(3, b"x"), frame(CONTINUATION, b"x"), frame(PING, bytes(126)), frame(CLOSE, b"\x00")],
    ids=["unmasked", "opcode", "continuation", "long ping", "close"],
)
def test_what_is_no_frame_closes_1002_and_the_client_gets_to_know(serve, read_by, wrong):
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.send(wrong + bytes(200_000))  # in flight while we close: it must not take the close frame back
        assert (raw.rest(), raw.close_code) == ([], 1002)


def test_text_that_is_no_utf8_closes_1007(serve, unhurried, caplog):
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.send(frame(TEXT, b"\xff"))
        assert (raw.rest(), raw.close_code) == ([], 1007)
    assert logged(caplog) == []


def test_others_do_not_notice(serve, read_by):
    server = serve()
    with Raw(server.port).open() as raw, Client(server.url("simple")) as client:
        raw.say(start())
        raw.send(frame(PING) * 20_000)
        client.send(start(), bytes(3200), STOP)
        assert [event["count"] for event in client.rest()] == [1600]


class Transport:
    """Takes everything that is written, and counts it."""

    def __init__(self) -> None:
        self.n_writes = 0
        self.written = bytearray()
        self.paused = False
        self.ended: str | None = None

    def get_extra_info(self, name, default=None):
        return default

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def write(self, data):
        self.n_writes += 1
        self.written += data

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def is_reading(self):
        return not self.paused

    def set_protocol(self, protocol):
        pass

    def can_write_eof(self):
        return False

    def close(self):
        self.ended = "closed"

    def abort(self):
        self.ended = "aborted"


def open_websocket(protocol: websocket.WebSocketProtocol) -> None:
    """The request, as the HTTP protocol hands it over."""
    names = ("server", "client", "root_path", "state")
    http_scope = {**dict.fromkeys(names, ""), "asgi": {}, "http_version": "1.1", "scheme": "http", "headers": []}
    lines = upgrade("/api/v1/segmented").decode().split("\r\n")[1:-2]
    headers = [tuple(text.encode() for text in line.split(": ")) for line in lines]
    answer = handshake.check("GET", b"/api/v1/segmented", "1.1", headers)
    protocol.begin(handshake.scope_of(http_scope, b"/api/v1/segmented"), answer)


def test_one_read_full_of_frames_is_worked_off_in_many_turns_of_the_loop():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass

    async def main() -> None:
        config = uvicorn.Config(app, ws_per_message_deflate=False, lifespan="off", log_config=None)
        config.load()
        kind = type("Protocol", (websocket.WebSocketProtocol,), {"settings": load_config(environ={})})
        protocol = kind(config=config, server_state=ServerState(), app_state={})
        transport = Transport()
        protocol.connection_made(transport)
        open_websocket(protocol)
        while not protocol.handshake_complete:
            await asyncio.sleep(0)
        before, n_turns = transport.n_writes, 0
        protocol.data_received(frame(PING) * 4000)
        while transport.n_writes < before + 4000:
            assert transport.paused
            n_turns += 1
            assert transport.n_writes - before <= n_turns * websocket.TURN_FRAMES
            await asyncio.sleep(0)
        while transport.paused:
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)

    asyncio.run(main())


# The time of a message, by a clock that the tests turn


class Clock:
    """The running loop with another time: its timers are due when `advance` says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now_s = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay_s, callback, *args)

    def call_at(self, when_s: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when_s, callback, args, self._loop)
        self._timers.append(timer)
        return timer

    async def advance(self, seconds: float) -> None:
        for _ in range(10):  # what is under way has come to its end
            await asyncio.sleep(0)
        until_s = self._now_s + seconds
        while due := [timer for timer in self._timers if timer.when() <= until_s and not timer.cancelled()]:
            timer = min(due, key=asyncio.TimerHandle.when)
            self._timers.remove(timer)
            self._now_s = max(self._now_s, timer.when())
            timer._run()
        self._now_s = until_s


def over_time(client: Callable[[websocket.WebSocketProtocol, Clock], Awaitable[None]]) -> list[dict[str, Any]]:
    """What the application gets of a client that has been let in, and how it ended, with a second for each message."""
    heard: list[dict[str, Any]] = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            heard.append(await receive())
            if heard[-1]["type"] == "websocket.disconnect":
                return

    async def main() -> None:
        config = uvicorn.Config(app, ws_ping_interval=None, lifespan="off", log_config=None)
        config.load()
        settings = load_config(environ={}, overrides={"limits.message_timeout_s": 1})
        kind = type("Protocol", (websocket.WebSocketProtocol,), {"settings": settings})
        clock = Clock()
        protocol = kind(config=config, server_state=ServerState(), app_state={}, _loop=clock)
        protocol.connection_made(Transport())
        open_websocket(protocol)
        while not protocol.handshake_complete:
            await asyncio.sleep(0)
        await client(protocol, clock)
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)

    asyncio.run(main())
    return heard


def test_messages_that_are_ended_have_no_time():
    """Reads that end in the middle of a message, for many times the time one may take."""
    audio = frame(BINARY, bytes(640))

    async def client(protocol: websocket.WebSocketProtocol, clock: Clock) -> None:
        protocol.data_received(audio[:300])
        for _ in range(20):
            await clock.advance(0.9)
            protocol.data_received(audio[300:] + audio[:300])
        assert protocol.close_sent is False
        await clock.advance(0.9)
        assert protocol.close_sent is False
        await clock.advance(0.2)
        assert protocol.close_sent is True  # but for the last, which is not ended

    *messages, end = over_time(client)
    assert [len(message["bytes"]) for message in messages] == [640] * 20
    assert (end["code"], end["reason"]) == (1008, "timeout")


def test_a_ping_in_two_parts_is_no_message_that_lasts():
    ping = frame(PING, b"there?")

    async def client(protocol: websocket.WebSocketProtocol, clock: Clock) -> None:
        protocol.data_received(ping[:4])
        await clock.advance(0.9)
        protocol.data_received(ping[4:])
        await clock.advance(100)
        assert protocol.close_sent is False

    assert [message["type"] for message in over_time(client)] == ["websocket.disconnect"]


def test_from_a_client_that_does_not_read_a_little_is_received():
    """Otherwise the kernels of both sides may stand still for ever: see the protocol."""
    audio = frame(BINARY, bytes(640))

    async def client(protocol: websocket.WebSocketProtocol, clock: Clock) -> None:
        transport: Any = protocol.transport
        protocol.pause_writing()
        for n_reads in range(1, 4):
            await clock.advance(websocket.READ_ON_S - 0.01)
            assert transport.paused
            await clock.advance(0.01)
            assert not transport.paused
            protocol.data_received(audio * 2)
            assert transport.paused
            assert protocol.pending_bytes == n_reads * 2 * len(audio)
        protocol.data_received(audio * (websocket.READ_ON_BYTES // len(audio) + 1))
        await clock.advance(10)
        assert transport.paused  # this much waits, and no more is read
        protocol.resume_writing()
        while transport.paused:
            await asyncio.sleep(0)

    heard = over_time(client)
    assert {len(message["bytes"]) for message in heard[:-1]} == {640}
    assert len(heard) - 1 == 6 + websocket.READ_ON_BYTES // len(audio) + 1


def test_the_reader_too_receives_a_little_from_a_client_that_does_not_read():
    audio = frame(BINARY, bytes(640)) * 2

    async def client(protocol: websocket.WebSocketProtocol, clock: Clock) -> None:
        transport: Any = protocol.transport
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
            near = server.accept()[0]
            near.setblocking(False)
            transport.get_extra_info = lambda name, default=None: near if name == "socket" else default
            protocol.start_reading()
            protocol.pause_writing()
            for n_reads in range(1, 4):
                far.send(audio)
                await clock.advance(websocket.READ_ON_S - 0.01)
                assert protocol.pending_bytes == (n_reads - 1) * len(audio)
                await clock.advance(0.01)
                while protocol.pending_bytes < n_reads * len(audio):
                    await asyncio.sleep(0)
            protocol.resume_writing()
            while protocol.is_held:
                await asyncio.sleep(0)
            protocol.reader.remove(protocol)
            near.close()

    assert [len(message["bytes"]) for message in over_time(client)[:-1]] == [640] * 6


# The shortcut of live audio


def run_protocol(reads: list[bytes], takes: Callable[[bytes], bool] | None, **limits: int) -> list[bytes | str]:
    """What the application gets of these reads, by the shortcut or by `receive`, in its order."""
    heard: list[bytes | str] = []

    async def app(scope, receive, send):
        def listen(data: bytes) -> bool:
            if not takes(data):
                return False
            heard.append(data)
            return True

        await receive()
        await send({"type": "websocket.accept"})
        if takes is not None:
            scope["extensions"][websocket.SHORTCUT](listen)
        while (message := await receive())["type"] == "websocket.receive":
            heard.append(message["text"] if message.get("bytes") is None else message["bytes"])
        heard.append(f"closed {message['code']}")

    async def main() -> None:
        config = uvicorn.Config(app, ws_per_message_deflate=False, lifespan="off", log_config=None, ws_max_size=70_000)
        config.load()
        settings = load_config(environ={}, overrides={"limits.message_bytes": 70_000, **limits})
        kind = type("Protocol", (websocket.WebSocketProtocol,), {"settings": settings})
        protocol = kind(config=config, server_state=ServerState(), app_state={})
        transport = Transport()
        protocol.connection_made(transport)
        open_websocket(protocol)
        while not protocol.handshake_complete:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        for read in reads:
            protocol.data_received(read)
            while transport.paused:
                await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)

    asyncio.run(main())
    return heard


def test_write_sends_at_once_only_while_the_websocket_is_open_and_the_client_reads() -> None:
    written: dict[str, bool] = {}

    async def app(scope, receive, send):
        write = scope["extensions"][websocket.WRITE]
        await receive()
        written["before the acceptance"] = write("a")
        await send({"type": "websocket.accept"})
        protocol = write.__self__
        written["open"] = write("text") and write(b"bytes")
        protocol.pause_writing()
        written["while the client does not read"] = write("b")
        protocol.resume_writing()
        written["when it reads again"] = write("c")
        await send({"type": "websocket.close"})
        written["behind the close frame"] = write("d")
        assert (await receive())["type"] == "websocket.disconnect"

    async def main() -> bytes:
        config = uvicorn.Config(app, ws_per_message_deflate=False, lifespan="off", log_config=None)
        config.load()
        kind = type("Protocol", (websocket.WebSocketProtocol,), {"settings": load_config(environ={})})
        protocol = kind(config=config, server_state=ServerState(), app_state={})
        transport = Transport()
        protocol.connection_made(transport)
        open_websocket(protocol)
        await asyncio.gather(*protocol.tasks)
        protocol.connection_lost(None)
        assert websocket.WRITE not in protocol.scope["extensions"]
        return bytes(transport.written)

    sent = asyncio.run(main())
    frames = sent[sent.index(b"\r\n\r\n") + 4 :]
    assert frames == b"\x81\x04text" + b"\x82\x05bytes" + b"\x81\x01c" + b"\x88\x02\x03\xe8"
    assert written == {
        "before the acceptance": False,
        "open": True,
        "while the client does not read": False,
        "when it reads again": True,
        "behind the close frame": False,
    }


@pytest.mark.parametrize("size", [16, 126, 70_000])
@pytest.mark.parametrize("before", [b"", frame(BINARY, b"before")], ids=["alone", "behind another"])
def test_audio_that_looks_like_a_frame_is_audio_wherever_a_read_ends(before, size):
    """A client may send the header of a frame by itself; what follows is masked, and may look like anything."""
    wire = before + frame(BINARY, frame(BINARY, b"inner").ljust(size, b"."))
    for cut in range(1, len(before) + 20):
        heard = run_protocol([wire[:cut], wire[cut:]], lambda data: True)
        assert heard == run_protocol([wire], lambda data: True), cut


payloads = st.one_of(st.binary(max_size=5), st.sampled_from([125, 126, 127, 640, 20_000, 65_535, 65_536]).map(bytes))
some_frames = st.lists(
    st.one_of(
        payloads.map(lambda data: frame(BINARY, data)),
        payloads.map(lambda data: frame(BINARY, data)),
        st.text(max_size=5).map(lambda text: frame(TEXT, text.encode())),
        st.tuples(payloads, payloads).map(lambda two: frame(BINARY, two[0], fin=False) + frame(CONTINUATION, two[1])),
        st.just(frame(PING, b"?")),
        st.just(frame(PONG, b"")),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(some_frames, st.lists(st.integers(0, 200_000), max_size=6), st.integers(0, 3))
def test_the_shortcut_changes_nothing_of_what_is_heard(frames, cuts, every):
    """Any frames, cut anywhere, with a listener that takes none, all, or every so many."""
    wire = b"".join(frames)
    bounds = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    reads = [wire[begin:end] for begin, end in pairwise(bounds)]
    n_asked = 0

    def takes(data: bytes) -> bool:
        nonlocal n_asked
        n_asked += 1
        return bool(data) and every > 0 and n_asked % every == 0

    assert run_protocol(reads, takes) == run_protocol(reads, None)


def test_audio_takes_the_shortcut_as_soon_as_everything_in_front_of_it_is_received():
    taken: list[bytes] = []

    def takes(data: bytes) -> bool:
        taken.append(data)
        return True

    audio = [bytes([number]) * size for number, size in enumerate((1, 125, 126, 640))]
    plain = b"".join(frame(BINARY, data) for data in audio)
    halves = frame(BINARY, b"in two ", fin=False) + frame(PING, b"") + frame(CONTINUATION, b"parts")
    run_protocol([plain, frame(TEXT, b"{}") + plain, plain[:50], plain[50:], halves], takes)
    assert taken == [*audio, *audio, *audio, b"in two parts"]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (bytes([0x82, 5]) + b"plain", 1002),  # no mask
        (bytes([0xC2]) + frame(BINARY, b"12345")[1:], 1002),  # a reserved bit
        (frame(BINARY, bytes(70_001)), 1009),
        (frame(BINARY, bytes(10), length=2**63), 1009),
    ],
    ids=["unmasked", "reserved", "too large", "huge"],
)
def test_the_shortcut_lets_nothing_through_that_is_forbidden(wire, code):
    reads = [frame(BINARY, b"before") + wire + frame(BINARY, b"behind")]
    assert run_protocol(reads, lambda data: True) == [b"before", f"closed {code}"]


def test_a_length_in_more_bytes_than_it_needs_is_forbidden():
    long = bytes([0x82, 0xFE, 0, 5]) + frame(BINARY, b"12345")[2:]
    assert run_protocol([long], lambda data: True) == run_protocol([long], None) == ["closed 1002"]
