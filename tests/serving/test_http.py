"""Before the upgrade: a request has a time and a size, whoever sends it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

import pytest

from helpers.raw import Raw, upgrade

UPGRADE = upgrade("/api/v1/segmented")
HEALTH = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


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


def test_a_request_has_a_size(serve, unhurried, caplog):
    server = serve()
    with Raw(server.port) as raw:
        raw.send(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000)
        assert raw.wait_for_end().startswith(b"HTTP/1.1 400")
    with Raw(server.port) as raw:  # our websocket library has a smaller one for a line
        raw.send(upgrade("/api/v1/simple", x_long="x" * 9000))
        assert raw.wait_for_end().startswith(b"HTTP/1.1 431")
    assert caplog.text == ""


def test_requests_sent_ahead_are_bounded(serve, unhurried, caplog):
    server = serve()
    with Raw(server.port) as raw:
        raw.send(HEALTH * 10)
        for _ in range(10):
            raw.read_until(b'{"status":"healthy"}')
        raw.send(HEALTH * 1000)
        assert b"HTTP/1.1 400" in raw.wait_for_end()
    assert caplog.text == ""


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
    assert caplog.text == ""


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
    assert caplog.text == ""
