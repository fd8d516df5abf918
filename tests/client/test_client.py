"""The client against a scripted server: every good and bad behaviour of a server, and every kind of source."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http
import io
import json
import os
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import trustme
from msgspec import UNSET
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response

from helpers.ports import held_port
from helpers.scripted_server import (
    Received,
    active,
    answering,
    error,
    final,
    inactive,
    interim,
    receive_session,
    segment,
    send,
    serving,
    serving_in_thread,
)
from voxgate import client
from voxgate.client.check import ResultCheck
from voxgate.protocol.events import Active, Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import parse_event
from voxgate.protocol.requests import VadOptions

MONO = AudioFormat(1, 16_000, 16, False)
ONE_SECOND = bytes(32_000)
UTTERANCE = (active(0.1), inactive(0.6), final(0.1, 0.6, loudness=-20.5))


def run(
    handler: Any, source: client.Source = ONE_SECOND, path: str = "/api/v1/segmented", **options: Any
) -> list[Event]:
    """The events of one stream to a server that does `handler`."""
    if isinstance(source, bytes) and "format" not in options:
        options["format"] = MONO

    async def main() -> list[Event]:
        async with serving(handler, path) as addr:
            return [event async for event in client.stream(source, addr=addr, **options)]

    return asyncio.run(asyncio.wait_for(main(), 30))


async def take_all(stream: client.Stream, events: list[Event]) -> None:
    """Collects what came before an exception, too."""
    async for event in stream:
        events.append(event)


def sent_by(source: client.Source, **options: Any) -> Received:
    """What reaches the server."""
    sessions: list[Received] = []
    run(answering(sessions=sessions), source, **options)
    return sessions[0]


# ------------------------------------------------------------------------------------------------ what is sent


def test_a_session_is_start_audio_stop() -> None:
    received = sent_by(bytes(range(250)) * 4, chunk_size=256)
    assert received.texts == [
        {
            "request": "start",
            "format": {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False},
            "interim_results": False,
            "trace_id": None,
        },
        {"request": "stop", "disconnect": True},
    ]
    assert received.audio == bytes(range(250)) * 4
    assert received.lengths == [256, 256, 256, 232]
    assert received.path == "/api/v1/segmented"
    assert "authorization" not in received.headers
    assert "sec-websocket-extensions" not in received.headers


def test_options_reach_the_start_message() -> None:
    received = sent_by(
        ONE_SECOND,
        interim_results=True,
        trace_id="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        vad=VadOptions(threshold=0.6, prefix_padding_ms=0),
        notices=True,
        token="secret",
    )
    start = received.start
    assert start["interim_results"] is True
    assert start["trace_id"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert start["vad"] == {"threshold": 0.6, "prefix_padding_ms": 0}
    assert start["notices"] is True
    assert "token" not in start
    assert received.headers["authorization"] == "Bearer secret"


def test_the_token_goes_into_start_where_the_header_cannot_be_used() -> None:
    received = sent_by(ONE_SECOND, token="secret", token_in="start")
    assert received.start["token"] == "secret"
    assert "authorization" not in received.headers
    with pytest.raises(ValueError, match="token_in"):
        client.stream(ONE_SECOND, format=MONO, token="secret", token_in="query")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk_size", [1, 7, 255, 256, 257, 640, 1_000_000])
def test_chunks_join_to_the_audio_and_all_but_the_last_are_full(chunk_size: int) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 3001, dtype=np.int16)
    received = sent_by((samples, 8000), chunk_size=chunk_size)
    assert received.audio == samples.astype("<i2").tobytes()
    assert set(received.lengths[:-1]) <= {chunk_size}
    assert received.lengths[-1] <= chunk_size


def test_an_int_file_is_sent_as_s16(tmp_path: Any) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_768, (5000, 2), dtype=np.int16)
    soundfile.write(tmp_path / "stereo.flac", samples, 44_100)
    received = sent_by(tmp_path / "stereo.flac")
    assert received.start["format"] == {"channels": 2, "sample_rate": 44_100, "bit_depth": 16, "is_float": False}
    assert received.audio == samples.astype("<i2").tobytes()


def test_a_float_file_is_sent_as_f32_and_s16_can_be_chosen(tmp_path: Any) -> None:
    samples = np.array([0.0, 0.25, -1.0, 1.0, 1.5, -2.0], dtype=np.float32)
    soundfile.write(tmp_path / "float.wav", samples, 48_000, subtype="FLOAT")
    received = sent_by(str(tmp_path / "float.wav"))
    assert received.start["format"] == {"channels": 1, "sample_rate": 48_000, "bit_depth": 32, "is_float": True}
    assert np.array_equal(np.frombuffer(received.audio, "<f4"), samples)
    received = sent_by(tmp_path / "float.wav", format=AudioFormat(1, 48_000, 16, False))
    assert np.frombuffer(received.audio, "<i2").tolist() == [0, 8192, -32_768, 32_767, 32_767, -32_768]


def test_s16_of_what_is_no_number_is_silence_as_on_the_wire() -> None:
    samples = np.array([0.5, np.nan, np.inf, -np.inf, -0.5], dtype=np.float32)
    received = sent_by((samples, 16_000), format=AudioFormat(1, 16_000, 16, False))
    assert np.frombuffer(received.audio, "<i2").tolist() == [16_384, 0, 0, 0, -16_384]


@pytest.mark.parametrize(("peak", "hint"), [(1.0, None), (1.5, ""), (20_000.0, "divide them by 32768")])
@pytest.mark.parametrize("kind", ["array", "file"])
def test_floats_beyond_full_scale_are_warned_of_once(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, kind: str, peak: float, hint: str | None
) -> None:
    samples = np.tile(np.array([0.1, -peak, np.nan], dtype=np.float32), 50_000)
    soundfile.write(tmp_path / "float.wav", samples, 16_000, subtype="FLOAT")
    sent_by(tmp_path / "float.wav" if kind == "file" else (samples, 16_000), chunk_size=8192)
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("voxgate.client")]
    if hint is None:
        assert warnings == []
    else:
        [text] = warnings
        assert f"floats reach {peak:g}, beyond full scale (-1..1), and the server clips them" in text
        assert hint in text


def test_a_compressed_file_is_clipped_not_wrapped(tmp_path: Any) -> None:
    rate = 16_000
    loud = np.sign(np.sin(2 * np.pi * 200 * np.arange(rate) / rate)).astype(np.float32)  # Vorbis overshoots this
    soundfile.write(tmp_path / "loud.ogg", loud, rate)
    decoded, _ = soundfile.read(tmp_path / "loud.ogg")
    received = sent_by(tmp_path / "loud.ogg", chunk_size=4096)
    got = np.frombuffer(received.audio, "<i2") / 32_768
    assert np.abs(decoded).max() > 1.0
    assert np.abs(got - np.clip(decoded, -1, 1)).max() < 1e-4


def test_an_open_file_is_a_sound_file_or_with_a_format_raw_pcm(tmp_path: Any) -> None:
    samples = np.arange(1000, dtype=np.int16)
    sound = io.BytesIO()
    soundfile.write(sound, samples, 16_000, format="WAV")
    sound.seek(0)
    assert sent_by(sound).audio == samples.tobytes()
    assert sent_by(io.BytesIO(samples.tobytes()), format=MONO).audio == samples.tobytes()


def test_float_planes_become_interleaved_f32() -> None:
    planes = np.array([[0.0, 0.5, 1.0], [-0.5, -0.25, 0.125]])
    received = sent_by((planes, 16_000))
    assert received.start["format"] == {"channels": 2, "sample_rate": 16_000, "bit_depth": 32, "is_float": True}
    assert np.frombuffer(received.audio, "<f4").tolist() == [0.0, -0.5, 0.5, -0.25, 1.0, 0.125]


def test_raw_pcm_of_any_format_from_iterables() -> None:
    mulaw = AudioFormat(1, 8000, 8, False, "mulaw")
    received = sent_by(iter([b"abc", b"", b"defgh"]), format=mulaw, chunk_size=4)
    assert received.start["format"]["encoding"] == "mulaw"
    assert received.audio == b"abcdefgh"
    assert received.lengths == [3, 4, 1]  # each block leaves when it comes

    async def blocks() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"defgh"

    assert sent_by(blocks(), format=mulaw).lengths == [3, 5]


def test_a_blocking_iterator_does_not_hold_the_loop() -> None:
    # The iterator waits for something that only the event loop can do: hear the first chunk at the server.
    heard = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"ab"
        assert heard.wait(30)
        yield b"cd"

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        assert await websocket.recv() == b"ab"
        heard.set()
        await receive_session(websocket)

    run(handler, blocks(), format=MONO)


@pytest.mark.parametrize(
    ("source", "options", "exception", "text"),
    [
        (b"abc", {}, ValueError, "needs format"),
        (iter([b"abc"]), {}, ValueError, "needs format"),
        (b"abc", {"format": AudioFormat(1, 16_000, 12, False)}, ValueError, "bit_depth 12"),
        (b"abc", {"format": AudioFormat(999_999_999, 16_000, 16, False)}, ValueError, r"channels must be 1\.\.256"),
        (b"abc", {"format": AudioFormat(1, 0, 16, False)}, ValueError, "sample_rate must be"),
        (b"abc", {"format": MONO, "chunk_size": 0}, ValueError, "chunk_size"),
        (b"abc", {"format": MONO, "real_time": -1}, ValueError, "real_time"),
        (b"abc", {"format": MONO, "addr": "ftp://host"}, ValueError, "'ftp'"),
        (b"abc", {"format": MONO, "addr": "ws://:80"}, ValueError, "host"),
        (b"abc", {"format": MONO, "addr": "host:port"}, ValueError, "port"),
        ("no/such/file.wav", {}, FileNotFoundError, "no/such/file.wav"),
        (__file__, {}, client.SourceError, "not an audio file"),
        ((np.zeros((1000, 2)), 16_000), {}, ValueError, r"\(channels, n\)"),
        ((np.zeros((2, 2, 2)), 16_000), {}, ValueError, r"\(channels, n\)"),
        ((np.zeros(8, dtype=np.int64), 16_000), {}, ValueError, "int64"),
        ((np.zeros(8), 16_000), {"format": AudioFormat(2, 16_000, 16, False)}, ValueError, "the source has 1"),
        ((np.zeros(8), 16_000), {"format": AudioFormat(1, 16_000, 24, False)}, ValueError, "s24"),
        (42, {}, TypeError, "int"),
    ],
)
def test_what_cannot_be_sent_is_told_at_once(
    source: Any, options: dict[str, Any], exception: type[Exception], text: str
) -> None:
    with pytest.raises(exception, match=text):
        client.stream(source, **options)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:9000", "ws://localhost:9000/api/v1/segmented"),
        ("host", "ws://host/api/v1/segmented"),
        ("http://host:1/", "ws://host:1/api/v1/segmented"),
        ("https://host/api/v1/simple", "wss://host/api/v1/simple"),
        ("ws://[::1]:8080/a?b=c", "ws://[::1]:8080/a?b=c"),
    ],
)
def test_addresses_as_people_type_them(typed: str, url: str) -> None:
    assert client.normalize_addr(typed) == url


# ------------------------------------------------------------------------------------------------- pacing


class FakeClock:
    """Time moves only when somebody sleeps, and each send takes a bit."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.late_s = late_s
        self.asked: list[float] = []

    def time(self) -> float:
        return self.now_s

    async def sleep_until(self, when: float) -> None:
        self.asked.append(when)
        self.now_s = max(self.now_s, when + self.late_s)
        await asyncio.sleep(0)


@pytest.mark.parametrize(("real_time", "factor"), [(True, 1.0), (4, 4.0), (0.5, 0.5)])
def test_live_pace_is_an_absolute_schedule(real_time: bool | float, factor: float) -> None:
    clock = FakeClock(late_s=0.003)  # every sleep wakes up late; the lateness must not add up
    run(answering(), ONE_SECOND, chunk_size=320, real_time=real_time, clock=clock)
    expected = 100.0 + np.arange(1, 101) * 0.01 / factor
    assert np.allclose(clock.asked, expected, rtol=0, atol=1e-9)


def test_full_speed_never_sleeps() -> None:
    clock = FakeClock()
    run(answering(), ONE_SECOND, clock=clock)
    assert clock.asked == []


def test_times_are_taken_by_the_clock() -> None:
    clock = FakeClock()

    async def main() -> client.Stream:
        async with serving(answering(*UTTERANCE)) as addr:
            stream = client.stream(ONE_SECOND, addr=addr, format=MONO, real_time=True, clock=clock)
            assert stream.duration_s == 1.0
            async for _ in stream:
                pass
            return stream

    stream = asyncio.run(main())
    assert stream.first_event_s == pytest.approx(1.0)
    assert stream.total_s == pytest.approx(1.0)
    assert stream.sent_s == 1.0
    assert stream.stop_sent


# -------------------------------------------------------------------------------------------- what comes back


def test_events_are_typed_and_in_order() -> None:
    events = run(answering(active(0.1), interim(0.1, 0.5, text="a"), inactive(0.6), final(0.1, 0.6, text="ab")))
    assert events == [
        Active(0.1),
        Segment(0.1, 0.5, False, {"text": "a"}),
        Inactive(0.6),
        Segment(0.1, 0.6, True, {"text": "ab"}),
    ]


def test_error_events_are_events() -> None:
    events = run(answering(active(0.1), inactive(0.6), error("bad luck")))
    assert events[-1] == Error("bad luck", "inference_failed")


def test_results_come_while_audio_is_still_being_sent() -> None:
    # The source gives its second half only after the event for the first one was seen.
    async def main() -> None:
        seen = asyncio.Event()

        async def blocks() -> AsyncIterator[bytes]:
            yield bytes(16_000)
            await seen.wait()
            yield bytes(16_000)

        async def handler(websocket: ServerConnection) -> None:
            await websocket.recv()
            await websocket.recv()
            await send(websocket, *UTTERANCE)
            await receive_session(websocket)

        async with serving(handler) as addr:
            stream = client.stream(blocks(), addr=addr, format=MONO, chunk_size=16_000)
            async for event in stream:
                if isinstance(event, Segment):
                    assert not stream.stop_sent
                    seen.set()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_server_that_does_not_read_slows_the_client_down_and_its_memory_stays_bounded() -> None:
    n_blocks, block = 4000, bytes(16_384)  # 64 MiB, far more than any socket buffer
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(n_blocks):
            taken += 1
            yield block

    async def main() -> None:
        stalled = asyncio.Event()
        taken_while_stalled: list[int] = []

        async def handler(websocket: ServerConnection) -> None:
            # Reads nothing until the client has stood still for a while, in turns of the loop, not of the wall clock.
            before, still = -1, 0
            while still < 200:
                still = still + 1 if taken == before else 0
                before = taken
                await asyncio.sleep(0)
                await asyncio.to_thread(lambda: None)
            taken_while_stalled.append(taken)
            stalled.set()
            received = await receive_session(websocket)
            assert len(received.audio) == n_blocks * len(block)
            await send(websocket, *UTTERANCE)

        async with serving(handler, max_queue=4) as addr:
            events = [e async for e in client.stream(blocks(), addr=addr, format=MONO, chunk_size=16_384)]
        assert stalled.is_set()
        assert taken_while_stalled[0] < n_blocks / 2
        assert len(events) == 3

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_client_never_waits_for_pongs(monkeypatch: pytest.MonkeyPatch) -> None:
    import voxgate.client.connection as connection

    seen: dict[str, Any] = {}
    real_connect = connection.connect

    def spying_connect(addr: str, **options: Any) -> Any:
        seen.update(options)
        return real_connect(addr, **options)

    monkeypatch.setattr(connection, "connect", spying_connect)
    run(answering())
    assert seen["ping_timeout"] is None
    assert seen["ping_interval"] is not None


def test_memory_for_a_long_file_is_bounded(tmp_path: Any) -> None:
    samples = np.zeros(4_000_000, dtype=np.int16)
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    stream = client.stream(tmp_path / "long.flac")
    longest = 0
    for block in stream._source.blocks:  # type: ignore[union-attr]
        longest = max(longest, len(block))
    assert longest <= 2 * 65_536


# --------------------------------------------------------------------------------------- when things go wrong


def test_connection_refused() -> None:
    with held_port() as port, pytest.raises(client.ConnectError, match=r"connection refused.*is the server running"):
        client.collect(ONE_SECOND, addr=f"ws://127.0.0.1:{port}", format=MONO)


def test_http_refusal_carries_status_body_and_retry_after() -> None:
    def refuse(connection: ServerConnection, request: Any) -> Response:
        headers = Headers({"Retry-After": "3"})
        return Response(int(http.HTTPStatus.SERVICE_UNAVAILABLE), "Service Unavailable", headers, b"server full\n")

    text = r"HTTP 503: server full \(try again after 3 s\)"
    with (
        serving_in_thread(answering(), process_request=refuse) as addr,
        pytest.raises(client.RefusedError, match=text) as caught,
    ):
        client.collect(ONE_SECOND, addr=addr, format=MONO)
    assert (caught.value.status, caught.value.body, caught.value.retry_after) == (503, "server full\n", "3")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": "server full: 8 streams"}', "HTTP 503: server full: 8 streams"),
        ('{"error": 7}', 'HTTP 503: {"error": 7}'),
        ('{"reason": "no"}', 'HTTP 503: {"reason": "no"}'),
        ("[1]", "HTTP 503: [1]"),
        ("null", "HTTP 503: null"),
        ("", "HTTP 503"),
    ],
)
def test_a_refusal_says_the_error_of_a_json_body(body: str, text: str) -> None:
    error = client.RefusedError(503, body)
    assert str(error) == f"the server refused with {text}"
    assert error.body == body


def test_what_is_no_websocket_server_is_told() -> None:
    async def main() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(client.ConnectError, match="cannot connect"):
                async for _ in client.stream(ONE_SECOND, addr=f"127.0.0.1:{port}", format=MONO):
                    pass

    asyncio.run(main())


def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_ws_where_the_server_speaks_tls() -> None:
    async def main() -> None:
        async with serving(answering(), ssl=tls()) as addr:
            with pytest.raises(client.ConnectError, match="speaks TLS, its address begins with wss://"):
                async for _ in client.stream(ONE_SECOND, addr=addr, format=MONO):
                    pass

    asyncio.run(asyncio.wait_for(main(), 30))


def test_an_expired_certificate_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority.issue_cert("127.0.0.1", not_before=expired, not_after=expired).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving_in_thread(answering(), ssl=context) as addr:
        addr = addr.replace("ws://", "wss://")
        with pytest.raises(client.ConnectError) as caught:
            client.collect(ONE_SECOND, addr=addr, format=MONO)
    assert str(caught.value) == (
        f"cannot connect to {addr}: the server's certificate is not accepted: certificate has expired"
    )


def test_wss_where_the_server_speaks_no_tls(serve: Any) -> None:
    addr = f"wss://127.0.0.1:{serve().port}"
    with pytest.raises(client.ConnectError, match=r"speaks no TLS \(an address without it begins with ws://\)"):
        client.collect(ONE_SECOND, addr=addr, format=MONO)


def closing(code: int, reason: str, read: bool) -> Callable[[ServerConnection], Any]:
    async def handler(websocket: ServerConnection) -> None:
        if read:
            await receive_session(websocket)
        else:
            await websocket.recv()
        await websocket.close(code, reason)

    return handler


@pytest.mark.parametrize(
    ("code", "reason", "read", "text"),
    [
        (1000, "", False, "closed with 1000, after .* before the end"),
        (1008, "idle", False, r"closed with 1008 \(it broke the rules of the server\): idle, after .* before the end"),
        (1009, "", False, r"closed with 1009 \(a message was too large\), after"),
        (1011, "internal", True, r"closed with 1011 \(the server failed\): internal$"),
        (1001, "bye", True, r"closed with 1001 \(the server goes away\): bye$"),
        (1013, "", True, r"closed with 1013 \(the server is overloaded: try again later\)$"),
        (3000, "odd", True, "closed with 3000: odd$"),
    ],
)
def test_every_close_but_1000_after_stop_is_an_error(code: int, reason: str, read: bool, text: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(256)
            await asyncio.sleep(0)

    source = ONE_SECOND if read else endless()
    with pytest.raises(client.ClosedError, match=text) as caught:
        run(closing(code, reason, read), source, format=MONO)
    assert (caught.value.received_code, caught.value.reason) == (code, reason)


def test_a_lost_connection_is_an_error() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        websocket.transport.abort()

    with pytest.raises(client.ClosedError, match="lost") as caught:
        run(handler)
    assert caught.value.received_code is None


@pytest.mark.parametrize("garbage", ["not json", "[]", '{"type":"active"}', '{"no":"type"}', b"\x00\x01\xff"])
def test_garbage_is_an_error(garbage: str | bytes) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send(garbage)
        await receive_session(websocket)

    with pytest.raises(client.BadEvent, match="no event"):
        run(handler)


def test_bytes_that_break_the_websocket_are_an_error() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        websocket.transport.write(b"\xff\xff\xff\xff")  # reserved bits and an unknown opcode
        await websocket.wait_closed()

    with pytest.raises(client.ClosedError, match="given up"):
        run(handler)


@pytest.mark.parametrize("code", ["invalid_start", "invalid_message", "not_started"])
def test_a_rejected_start_ends_the_stream_instead_of_hanging(code: str) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await send(websocket, error("vad.threshold must be 0.01..0.99, got 7", code))
        await receive_session(websocket)

    async def main() -> list[Event]:
        events: list[Event] = []
        async with serving(handler) as addr:
            with pytest.raises(client.RejectedError, match="got 7") as caught:
                await take_all(client.stream(ONE_SECOND, addr=addr, format=MONO), events)
            assert caught.value.error_code == code
        return events

    assert len(asyncio.run(asyncio.wait_for(main(), 30))) == 1


def test_silence_beyond_the_limit_is_an_error() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        await websocket.wait_closed()

    with pytest.raises(client.SilentServer, match=r"0\.01 s"):
        run(handler, result_timeout_s=0.01)


def test_a_source_that_fails_ends_the_stream_with_its_exception() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"ab"
        raise LookupError("the microphone fell off")

    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)

    with pytest.raises(LookupError, match="fell off"):
        run(handler, blocks(), format=MONO)


def test_what_was_sent_before_a_source_failed_is_answered_first() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"abcd"
        raise LookupError("the microphone fell off")

    sessions: list[Received] = []
    events: list[Any] = []

    async def main() -> None:
        async with serving(answering(*UTTERANCE, sessions=sessions)) as addr:
            async for event in client.stream(blocks(), addr=addr, format=MONO):
                events.append(event)

    with pytest.raises(LookupError, match="fell off"):
        asyncio.run(main())
    assert sessions[0].audio == b"abcd"
    assert sessions[0].texts[-1] == {"request": "stop", "disconnect": True}
    assert [type(event).__name__ for event in events] == ["Active", "Inactive", "Segment"]


def test_leaving_early_closes_the_connection_and_the_source() -> None:
    closed = threading.Event()

    def blocks() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(256)
        finally:
            closed.set()

    async def main() -> None:
        gone = asyncio.Event()

        async def handler(websocket: ServerConnection) -> None:
            await websocket.recv()
            await send(websocket, active(0.1))
            await receive_session(websocket)
            gone.set()

        async with serving(handler) as addr:
            async with contextlib.aclosing(aiter(client.stream(blocks(), addr=addr, format=MONO))) as events:
                async for _ in events:
                    break
            await asyncio.wait_for(gone.wait(), 30)
        assert await asyncio.to_thread(closed.wait, 30)

    asyncio.run(main())


LEAVES_EARLY = """
import asyncio, sys
from voxgate import client
from voxgate.protocol.formats import AudioFormat

async def main(addr):
    async for _ in client.stream(bytes(32_000), addr=addr, format=AudioFormat(1, 16_000, 16, False)):
        break

asyncio.run(main(sys.argv[1]))
with asyncio.Runner() as runner:
    runner.run(main(sys.argv[1]))
"""


def test_a_loop_that_ends_right_after_a_break_has_nothing_to_complain_about() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await send(websocket, active(0.1))
        await receive_session(websocket)

    async def main() -> None:
        async with serving(handler) as addr:
            command = [sys.executable, "-X", "dev", "-c", LEAVES_EARLY, addr]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            _, stderr = await process.communicate()
        lines = [line for line in stderr.decode().splitlines() if not line.startswith("Executing <")]  # a slow step
        assert lines == []
        assert process.returncode == 0

    asyncio.run(main())


def test_a_stream_is_used_once() -> None:
    stream = client.stream(ONE_SECOND, format=MONO)
    aiter(stream)
    with pytest.raises(RuntimeError, match="once"):
        aiter(stream)


# ------------------------------------------------------------------------------------------ every result arrived


def problems(*events: dict[str, Any], sent_s: float = 3.0, channels: int = 1, covering: bool = False) -> list[str]:
    check = ResultCheck(channels, covering)
    for event in events:
        check.receive(parse_event(json.dumps(event)))
    return check.problems(sent_s)


@pytest.mark.parametrize(
    "events",
    [
        (),
        UTTERANCE,
        (active(0.1), interim(0.1, 0.5), inactive(0.6), final(0.1, 0.6)),
        # finals late, behind the next utterance's active and inactive
        (active(0.1), inactive(0.6), active(1.0), inactive(1.5), final(0.1, 0.6), final(1.0, 1.5)),
        # cut at the maximum length
        (active(0.1), final(0.1, 1.1), final(1.1, 2.1), inactive(2.3), final(2.1, 2.3)),
        (active(0.1), inactive(2.3), final(0.1, 1.1), final(1.1, 2.1), final(2.1, 2.3)),
        # the cut ate everything: nothing is left for the end
        (active(0.1), final(0.1, 1.1), inactive(1.1)),
        # utterances that touch
        (active(0.1), inactive(0.6), final(0.1, 0.6), active(0.6), inactive(1.0), final(0.6, 1.0)),
        # rounding at both ends
        (active(0.1), inactive(0.601), final(0.101, 0.6)),
        # errors stand in for results
        (active(0.1), inactive(0.6), error()),
        (active(0.1), inactive(0.6), error(), active(1.0), inactive(1.5), final(1.0, 1.5)),
        (active(0.1), error(), inactive(2.3), final(1.1, 2.3)),
    ],
)
def test_complete_segmented_sessions(events: tuple[dict[str, Any], ...]) -> None:
    assert problems(*events) == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((active(0.1), inactive(0.6)), "no final result for 0.100-0.600 s"),
        ((active(0.1), interim(0.1, 0.6), inactive(0.6)), "no final result for 0.100-0.600 s"),
        ((active(0.1),), "never became inactive"),
        ((active(0.1), active(0.5), inactive(0.6), final(0.1, 0.6)), "active already"),
        ((inactive(0.6),), "without active"),
        ((*UTTERANCE, final(0.1, 0.6)), "second"),
        ((final(0.1, 0.6),), "no active announced"),
        ((*UTTERANCE, active(1.0), inactive(1.5)), "no final result for 1.000-1.500 s"),
        ((active(0.1), inactive(0.6), active(1.0), inactive(1.5), final(1.0, 1.5)), "0.100-0.600 s"),
        ((active(0.1), inactive(2.3), final(0.1, 1.1), final(1.6, 2.3)), "no final result for 1.100-1.600 s"),
        ((active(0.1), final(0.1, 1.1), inactive(2.3)), "no final result for 1.100-2.300 s"),
        ((active(0.1), inactive(0.6), final(0.1, 0.9)), "past inactive"),
        # out of order
        ((active(0.1), inactive(0.6), active(1), inactive(2), final(1, 2), final(0.1, 0.6)), "0.100-0.600 s"),
        # one error stands in for one result, not for two
        ((active(0.1), inactive(0.6), error(), active(1.0), inactive(1.5)), "no final result for 1.000-1.500 s"),
        # and only on its own channel
        ((active(0.1, 1), inactive(0.6, 1), error(channel=0)), "channel 1: no final"),
    ],
)
def test_incomplete_segmented_sessions(events: tuple[dict[str, Any], ...], text: str) -> None:
    found = problems(*events, channels=2)
    assert any(text in line for line in found), found


def test_simple_results_cover_everything() -> None:
    pieces = (segment(0, 1.1), segment(1.1, 2.4), segment(2.4, 3.0))
    assert problems(*pieces, covering=True) == []
    assert problems(covering=True) == ["channel 0: no result for 0.000-3.000 s"]
    assert problems(*pieces[:2], covering=True) == ["channel 0: no result for 2.400-3.000 s"]
    assert problems(pieces[0], pieces[2], covering=True) == ["channel 0: no result for 1.100-2.400 s"]
    assert problems(pieces[0], error(), pieces[2], covering=True) == []
    assert "second result" in problems(*pieces, pieces[2], covering=True)[0]
    assert problems(*pieces, covering=True, channels=2) == ["channel 1: no result for 0.000-3.000 s"]
    assert problems({"type": "data", "count": 3, "channel": 0}, covering=True) == []


def test_stateful_results_may_have_no_length_and_an_error_stands_for_all_before_it() -> None:
    closed = (segment(0, 2.4), segment(2.4, 3.0), segment(3.0, 3.0))
    assert problems(*closed, covering=True) == []
    assert problems(segment(0, 1.1), error(), segment(2.4, 3.0), segment(3.0, 3.0), covering=True) == []
    assert problems(segment(0, 2.4), error(), covering=True) == []


def test_missing_results_are_raised_after_the_last_event() -> None:
    async def main() -> list[Event]:
        events: list[Event] = []
        async with serving(answering(active(0.1), inactive(0.6))) as addr:
            with pytest.raises(client.MissingResults, match=r"no final result for 0\.100-0\.600 s"):
                await take_all(client.stream(ONE_SECOND, addr=addr, format=MONO), events)
        return events

    assert asyncio.run(main()) == [Active(0.1), Inactive(0.6)]


@pytest.mark.parametrize("path", ["/api/v1/simple", "/api/v1/stateful", "/api/v1/stateful/"])
def test_routes_that_answer_all_audio_are_known_by_their_address(path: str) -> None:
    events = run(answering(segment(0, 1.0)), path=path)
    assert events == [Segment(0.0, 1.0, UNSET, {"count": 1})]
    with pytest.raises(client.MissingResults, match=r"0\.500-1\.000"):
        run(answering(segment(0, 0.5)), path=path)


def test_many_problems_are_cut_in_the_text_but_all_there() -> None:
    caught = client.MissingResults([f"p{i}" for i in range(8)])
    assert str(caught).endswith("p4; and 3 more")
    assert len(caught.problems) == 8


# --------------------------------------------------------------------------------------------- the blocking twin


def test_blocking_and_collect_give_the_same_events() -> None:
    with serving_in_thread(answering(*UTTERANCE)) as addr:
        expected = [Active(0.1), Inactive(0.6), Segment(0.1, 0.6, True, {"loudness": -20.5})]
        assert list(client.stream_blocking(ONE_SECOND, addr=addr, format=MONO)) == expected
        assert client.collect(ONE_SECOND, addr=addr, format=MONO) == expected


def test_blocking_raises_what_the_stream_raises() -> None:
    with serving_in_thread(answering(active(0.1), inactive(0.6))) as addr, pytest.raises(client.MissingResults):
        client.collect(ONE_SECOND, addr=addr, format=MONO)
    with pytest.raises(FileNotFoundError):
        client.stream_blocking("no/such/file")


def test_blocking_works_inside_a_running_loop() -> None:
    with serving_in_thread(answering(*UTTERANCE)) as addr:

        async def main() -> int:
            return len(client.collect(ONE_SECOND, addr=addr, format=MONO))

        assert asyncio.run(main()) == 3


def test_leaving_the_blocking_loop_early_ends_its_thread() -> None:
    before = {thread.name for thread in threading.enumerate()}

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await send(websocket, active(0.1))
        await receive_session(websocket)

    with serving_in_thread(handler) as addr:
        events = client.stream_blocking(ONE_SECOND, addr=addr, format=MONO, real_time=0.001)
        assert next(events) == Active(0.1)
        events.close()
        assert "voxgate-client" not in {thread.name for thread in threading.enumerate()} - before


def test_an_interrupt_while_waiting_ends_the_blocking_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    import voxgate.client.blocking as blocking

    real = asyncio.run_coroutine_threadsafe
    calls = 0

    class Interrupted:
        def __init__(self, future: Any) -> None:
            self.future = future

        def result(self) -> Any:
            raise KeyboardInterrupt

    def interrupting(work: Any, loop: Any) -> Any:
        nonlocal calls
        calls += 1
        future = real(work, loop)
        return Interrupted(future) if calls == 2 else future

    async def handler(websocket: ServerConnection) -> None:
        await websocket.recv()
        await send(websocket, active(0.1))
        await receive_session(websocket)

    with serving_in_thread(handler) as addr:
        monkeypatch.setattr(blocking.asyncio, "run_coroutine_threadsafe", interrupting)
        events = client.stream_blocking(ONE_SECOND, addr=addr, format=MONO, real_time=0.001)
        assert next(events) == Active(0.1)
        with pytest.raises(KeyboardInterrupt):
            next(events)
    assert "voxgate-client" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs POSIX")
def test_proxies_are_not_asked_for_the_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert len(run(answering(*UTTERANCE))) == 3
