"""The end of a connection: the close frame arrives, whatever the client is sending meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
import websockets.asyncio.client
import websockets.sync.client
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from helpers.http_client import HttpClient
from helpers.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, Raw, frame, text, upgrade
from helpers.wire import STOP, start
from voxgate.config import load_config
from voxgate.server import closing, http
from voxgate.server.closing import FrameSkipper
from voxgate.session.routes import HANDLERS

MANY = 4_000_000  # bytes: more than the sockets of both sides hold


# Frames behind the one that the parser gave up


@given(
    st.lists(
        st.tuples(
            st.sampled_from([TEXT, BINARY, CONTINUATION, PING, 3, 15]),
            st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=5,
    ),
    st.lists(st.integers(0, 400_000), max_size=8),
)
def test_the_close_frame_is_found_wherever_the_reads_end(frames, cuts):
    before = b"".join(
        frame(opcode, bytes([0x88]) * n_bytes, fin=fin, masked=masked) for opcode, n_bytes, fin, masked in frames
    )
    wire = before + frame(CLOSE, b"\x03\xe8")
    bounds = sorted({0, len(before), len(before) + 1, len(wire), *(cut % len(wire) for cut in cuts)})
    skipper = FrameSkipper()
    found = [skipper.feed(wire[begin:end]) for begin, end in pairwise(bounds) if begin < len(before) + 2]
    assert found[:-1] == [False] * (len(found) - 1)
    assert found[-1] is True


# Real clients


def tell(*messages: dict[str, Any]) -> list[str]:
    return [json.dumps(message) for message in messages]


async def flood_with_asyncio(url: str, first: list[str | bytes], flood: str | bytes) -> ConnectionClosed:
    """How it ends for a client that sends `first`, and then `flood` without end."""
    async with websockets.asyncio.client.connect(url, compression=None) as client:
        try:
            for message in first:
                await client.send(message)
            while True:
                await client.send(flood)
        except ConnectionClosed as closed:
            return closed


async def flood_in_a_thread(url: str, first: list[str | bytes], flood: str | bytes) -> ConnectionClosed:
    """The same with the client that blocks."""

    def run() -> ConnectionClosed:
        with websockets.sync.client.connect(url, compression=None) as client:
            try:
                for message in first:
                    client.send(message)
                while True:
                    client.send(flood)
            except ConnectionClosed as closed:
                return closed

    return await asyncio.to_thread(run)


CLIENTS = pytest.mark.parametrize("client", [flood_with_asyncio, flood_in_a_thread], ids=["asyncio", "sync"])


@CLIENTS
def test_messages_above_the_limit_end_with_1009(serve, client):
    closed = asyncio.run(client(serve().url(), tell(start()), bytes(2_000_000)))
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd_then_sent) == (1009, True)
    assert str(closed.rcvd.reason) == "frame with 2000000 bytes exceeds limit of 1048576 bytes"


def test_our_own_client_says_why(serve, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8_000_000, dtype=np.int16), 16_000)
    options = ["-i", str(path), "--chunk-size", "2000000", "--addr", f"ws://127.0.0.1:{serve().port}"]
    done = subprocess.run(
        [sys.executable, "-m", "voxgate", "client", *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "1009" in done.stderr
    assert "Traceback" not in done.stderr


@CLIENTS
@pytest.mark.parametrize("size", [640, 500_000, 2_000_000])
@pytest.mark.parametrize(
    ("last", "code"),
    [
        ([STOP], 1000),
        ([{"request": "nonsense"}] * 8, 1008),
        ([start(sample_rate=1), STOP], 1000),
    ],
    ids=["stop", "invalid", "nothing was started"],
)
def test_a_close_of_the_server_reaches_a_client_at_full_speed(serve, client, last, code, size):
    server = serve(**{"limits.frames_per_second": 1000})
    closed = asyncio.run(client(server.url(), tell(start(), *last), bytes(size)))
    assert closed.rcvd is not None
    # Its own next message may be found too large before that of the `stop` is worked off.
    assert closed.rcvd.code == code or (size > 1_048_576 and closed.rcvd.code == 1009)
    assert closed.rcvd_then_sent is True


@CLIENTS
def test_so_does_that_of_a_bug(serve, client, monkeypatch):
    def fail(self: Any, data: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(HANDLERS["segmented"], "feed", fail)
    closed = asyncio.run(client(serve().url(), tell(start()), bytes(640)))
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd_then_sent) == (1011, True)


@CLIENTS
def test_so_does_that_of_a_server_that_shuts_down(serve, client, patient_end):
    server = serve()

    async def main() -> ConnectionClosed:
        flood = asyncio.create_task(client(server.url(), tell(start()), bytes(640)))
        while not server.service.tally.binary_in:
            await asyncio.sleep(0)
        server.server.ask_to_end()
        return await flood

    closed = asyncio.run(main())
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd_then_sent) == (1001, True)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(3, b"x"), 1002),
        (b"\x82\x01a", 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(BINARY, bytes(2_000_000)), 1009),
        (frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 5000, 1009),
        (text(STOP), 1000),
        (frame(CLOSE, (1000).to_bytes(2)), 1000),
    ],
    ids=["opcode", "unmasked", "long ping", "no text", "large", "fragments", "stop", "its own close"],
)
def test_what_is_in_flight_does_not_take_the_close_frame_back(serve, unhurried, wrong, code):
    with Raw(serve().port).open() as raw:
        raw.say(start())
        sending = threading.Thread(target=raw.send, args=(wrong + frame(BINARY, bytes(1000)) * (MANY // 1000),))
        sending.start()
        sending.join()  # all of it is taken in, before the client has read a byte
        assert (raw.rest(), raw.close_code) == ([], code)


# Bounds


@pytest.mark.parametrize("wrong", [frame(BINARY, bytes(2_000_000)), frame(3, b"x")], ids=["in step", "lost"])
def test_what_is_discarded_has_a_size(serve, monkeypatch, wrong):
    monkeypatch.setattr(closing, "DISCARD_BYTES", 3_000_000)
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.send(wrong)
        while raw.send(frame(BINARY, bytes(1000)) * 100):
            pass  # it comes to an end


@pytest.mark.parametrize("wrong", [frame(BINARY, bytes(2_000_000)), frame(3, b"x")], ids=["in step", "lost"])
def test_what_is_discarded_has_a_time(serve, monkeypatch, wrong):
    monkeypatch.setattr(closing, "CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(closing, "CLOSE_MAX_S", 0.3)
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.send(wrong)
        while raw.send(frame(BINARY, b"x")):  # it never stands still
            pass


# A client that reads slowly


class Reader:
    """The transport of a client that reads slowly, and the clock of its loop."""

    def __init__(self, n_unsent_bytes: int, sock: socket.socket | None = None) -> None:
        self.n_unsent_bytes = n_unsent_bytes
        self.is_aborted = self.is_read = False
        self.now_s = 0.0
        self._socket = sock
        self._due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._due.append((self.now_s + delay_s, callback))

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._due and self._due[0][0] <= until_s:
            self.now_s, callback = self._due.pop(0)
            callback()
        self.now_s = until_s

    def get_write_buffer_size(self) -> int:
        return self.n_unsent_bytes

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._socket

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self.is_read

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def abort(self) -> None:
        self.is_aborted = True


def closing_of(reader: Reader) -> closing.Closing:
    loop_and_transport: Any = reader
    owner = asyncio.Protocol()
    return closing.Closing(loop_and_transport, loop_and_transport, owner, 20.0, FrameSkipper())


def test_a_client_that_reads_slowly_gets_everything():
    """It has its time for the close frame from when its kernel has everything."""
    pause_s = 2 * closing.CLOSE_MAX_S - 0.1  # less than the time of a send
    n_bytes = round(pause_s * closing.SLOWEST_BYTES_PER_S)
    reader = Reader(n_unsent_bytes=100 * n_bytes)
    closing_of(reader)
    while reader.n_unsent_bytes:
        reader.advance(pause_s)
        reader.n_unsent_bytes -= n_bytes
    reader.advance(closing.CLOSE_TIMEOUT_S)
    assert not reader.is_aborted
    reader.advance(closing.CLOSE_TIMEOUT_S)
    assert reader.is_aborted


def test_a_client_that_reads_a_byte_now_and_then_is_cut_off():
    reader = Reader(n_unsent_bytes=100_000)
    closing_of(reader)
    while not reader.is_aborted:
        reader.advance(closing.CLOSE_TIMEOUT_S)
        reader.n_unsent_bytes -= 1
    assert reader.now_s <= 20 + 100_000 / closing.SLOWEST_BYTES_PER_S + closing.CLOSE_TIMEOUT_S


def test_a_client_that_does_not_read_has_the_time_of_a_send():
    reader = Reader(n_unsent_bytes=100)
    closing_of(reader)
    reader.advance(19.9)
    assert not reader.is_aborted
    reader.advance(closing.CLOSE_TIMEOUT_S)
    assert reader.is_aborted


def user_timeout_ms(server: Any) -> list[int]:
    """Of the connections of a server, as the kernel has it."""
    found = []
    for protocol in list(server.server.server_state.connections):
        with socket.socket(fileno=os.dup(protocol.transport.get_extra_info("socket").fileno())) as sock:
            found.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    return found


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="not Linux")
@pytest.mark.parametrize("wire", ["websocket", "http"])
def test_the_kernel_has_no_time_for_a_client_that_reads_slowly(serve, wire):
    """It would cut off one that reads 40 KB/s: see `closing.limit_probing`."""
    server = serve(lambda audio: {"text": "x" * 50_000}, **{"server.send_timeout_s": 1})
    path = "/api/v1/simple?sample_rate=16000"
    with HttpClient(server.port, receive_buffer_bytes=4096) as client:
        if wire == "http":
            client.open(path)
        else:
            Raw.open(client, "/api/v1/simple")
            client.say(start())
        assert user_timeout_ms(server) == [1000]
        while user_timeout_ms(server) != [0]:
            client.audio(bytes(32_000)) if wire == "http" else client.say(bytes(32_000))
        client.socket.settimeout(0.01)
        while user_timeout_ms(server) != [1000]:
            with contextlib.suppress(TimeoutError):
                client.socket.recv(65_536)


def test_an_http_client_that_reads_slowly_is_not_cut_off(monkeypatch):
    """Some of the bytes in the kernel are acknowledged, and none of those in front of it have room there yet."""
    n_unsent, transport, loop = [100, 90, 90, 90], mock.Mock(), mock.Mock()
    monkeypatch.setattr(http, "unsent_bytes", lambda transport: n_unsent.pop(0))
    monkeypatch.setattr(http, "limit_probing", lambda transport, timeout_s: None)
    transport.get_write_buffer_size.return_value = 50
    protocol = http.HttpProtocol.__new__(http.HttpProtocol)
    protocol.settings = load_config(environ={})
    protocol.transport, protocol.loop, protocol.flow = transport, loop, mock.Mock(write_paused=True)
    protocol._answering = protocol._reading = None
    protocol._watch_sending()
    protocol._check_sending()
    assert not transport.abort.called
    protocol._check_sending()
    assert transport.abort.called


def test_bytes_in_the_kernel_are_unsent():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            ours.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(65_536))
            transport: Any = Reader(7, ours)
            assert closing.unsent_bytes(transport) > 7
            while closing.unsent_bytes(transport) > 7:
                theirs.recv(65_536)
        ours.close()
        assert closing.unsent_bytes(transport) == 7


# A close in the midst of things


@pytest.mark.parametrize(
    "payload", [b"", (1000).to_bytes(2), (4000).to_bytes(2) + b"bye"], ids=["empty", "1000", "4000"]
)
@pytest.mark.parametrize(
    "fragments",
    [frame(BINARY, bytes(640), fin=False), frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"", fin=False)],
    ids=["one", "two"],
)
def test_a_close_inside_a_fragmented_message_is_echoed(serve, fragments, payload):
    with Raw(serve().port).open() as raw:
        raw.say(start())
        raw.send(fragments + frame(CLOSE, payload))
        assert raw.receive_frame() == (CLOSE, payload)
        assert raw.wait_for_end() == b""


def test_messages_in_front_of_a_forbidden_one_are_received(serve):
    """In one read: the events of the first are sent before the close frame of the second."""
    with Raw(serve().port).open() as raw:
        raw.send(text({"request": "nonsense"}) + frame(3, b"x"))
        raw.rest()
        assert raw.close_code == 1002


def test_the_answer_of_a_refusal_survives_frames_that_are_in_flight(serve):
    server = serve(**{"auth.tokens": "good"})
    with Raw(server.port) as raw:
        raw.send(upgrade("/api/v1/simple", authorization="Bearer bad") + frame(BINARY, bytes(1000)) * (MANY // 1000))
        status, headers, body = raw.response()
        assert (status, json.loads(body)["code"]) == (401, "unauthorized")
        assert headers["www-authenticate"] == "Bearer"
