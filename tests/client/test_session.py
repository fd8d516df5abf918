"""A stream sends its audio, yields typed events, and ends with the right error."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from helpers.client_stream import MONO, ONE_SECOND, UTTERANCE, run, sent_by
from helpers.scripted_server import (
    Received,
    active,
    answering,
    error,
    final,
    inactive,
    interim,
    receive_session,
    send,
    serving,
)
from voxgate import client
from voxgate.protocol.events import Active, Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import VadOptions


async def take_all(stream: client.Stream, events: list[Event]) -> None:
    """Collects what came before an exception, too."""
    async for event in stream:
        events.append(event)


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
        options={"language": "de"},
        notices=True,
        token="secret",
    )
    start = received.start
    assert start["interim_results"] is True
    assert start["trace_id"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert start["vad"] == {"threshold": 0.6, "prefix_padding_ms": 0}
    assert start["options"] == {"language": "de"}
    assert start["notices"] is True
    assert "token" not in start
    assert received.headers["authorization"] == "Bearer secret"


def test_the_token_goes_into_start_where_the_header_cannot_be_used() -> None:
    received = sent_by(ONE_SECOND, token="secret", token_in="start")
    assert received.start["token"] == "secret"
    assert "authorization" not in received.headers
    with pytest.raises(ValueError, match="token_in"):
        client.stream(ONE_SECOND, format=MONO, token="secret", token_in="query")  # type: ignore[arg-type]


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
        (
            1008,
            "idle",
            False,
            r"closed with 1008 \(the session violated .*\): idle, after .* before the end",
        ),
        (1009, "", False, r"closed with 1009 \(a message was too large\), after"),
        (1011, "internal", True, r"closed with 1011 \(the server failed\): internal$"),
        (1001, "bye", True, r"closed with 1001 \(the server is going away\): bye$"),
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

    with pytest.raises(client.BadEvent, match="sent an invalid event"):
        run(handler)


def test_bytes_that_break_the_websocket_are_an_error() -> None:
    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        websocket.transport.write(b"\xff\xff\xff\xff")  # reserved bits and an unknown opcode
        await websocket.wait_closed()

    with pytest.raises(client.ClosedError, match="this side closed the connection"):
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


def test_a_stream_is_used_once() -> None:
    stream = client.stream(ONE_SECOND, format=MONO)
    aiter(stream)
    with pytest.raises(RuntimeError, match="once"):
        aiter(stream)


def test_missing_results_are_raised_after_the_last_event() -> None:
    async def main() -> list[Event]:
        events: list[Event] = []
        async with serving(answering(active(0.1), inactive(0.6))) as addr:
            with pytest.raises(client.MissingResults, match=r"no final result for 0\.100-0\.600 s"):
                await take_all(client.stream(ONE_SECOND, addr=addr, format=MONO), events)
        return events

    assert asyncio.run(main()) == [Active(0.1), Inactive(0.6)]


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
