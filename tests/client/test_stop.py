"""`Stream.stop`: no more audio, and every result that is owed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from helpers.scripted_server import Received, active, final, inactive, receive_session, send, serving
from voxgate import client
from voxgate.client.feed import Feed
from voxgate.protocol.formats import AudioFormat

MONO = AudioFormat(1, 16_000, 16, False)
UTTERANCE = (inactive(0.01), final(0.0, 0.01))


class StandingClock:
    """Goes to `end_s` at once, and then stands still."""

    def __init__(self, end_s: float) -> None:
        self.end_s = end_s

    def time(self) -> float:
        return 0.0

    async def sleep_until(self, when: float) -> None:
        if when > self.end_s:
            await asyncio.Event().wait()


def run(source: Any, sessions: list[Received], enough_bytes: int, **options: Any) -> list[str]:
    """The types of the events of a stream that is stopped once the server has `enough_bytes`."""

    async def main() -> list[str]:
        has_enough = asyncio.Event()

        async def handler(websocket: ServerConnection) -> None:
            received = Received()
            sessions.append(received)
            await send(websocket, active(0.0))
            async for message in websocket:
                if isinstance(message, str):
                    received.texts.append(json.loads(message))
                    if received.texts[-1]["request"] == "stop":
                        break
                    continue
                received.audio += message
                if len(received.audio) >= enough_bytes:
                    has_enough.set()
            await send(websocket, *UTTERANCE)

        async def stop(stream: client.Stream) -> None:
            await has_enough.wait()
            stream.stop()
            stream.stop()

        async with serving(handler) as addr:
            stream = client.stream(source, format=MONO, addr=addr, **options)
            stopping = asyncio.ensure_future(stop(stream))
            types = [event.type async for event in stream]
            await stopping
            assert stream.stop_sent
            return types

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_a_paced_file_ends_where_it_is() -> None:
    sessions: list[Received] = []
    types = run(bytes(320_000), sessions, 1280, real_time=True, clock=StandingClock(0.04))
    assert types == ["active", "inactive", "segment"]
    assert len(sessions[0].audio) == 1280
    assert sessions[0].texts[-1]["request"] == "stop"


def test_a_source_that_gives_nothing_more_is_not_waited_for() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield bytes(640)
        await asyncio.Event().wait()

    sessions: list[Received] = []
    assert run(source(), sessions, 640) == ["active", "inactive", "segment"]
    assert len(sessions[0].audio) == 640


def test_after_a_lost_connection_only_what_was_sent_comes_again() -> None:
    sessions: list[Received] = []

    async def main() -> None:
        has_enough = asyncio.Event()

        async def handler(websocket: ServerConnection) -> None:
            if sessions:
                sessions.append(await receive_session(websocket))
                return
            received = Received()
            sessions.append(received)
            async for message in websocket:
                received.audio += message if isinstance(message, bytes) else b""
                if len(received.audio) == 1280:
                    has_enough.set()
                if isinstance(message, str) and json.loads(message)["request"] == "stop":
                    websocket.transport.abort()

        async with serving(handler) as addr:
            reconnect = client.Reconnect(3, 0, 0)
            stream = client.stream(
                bytes(range(256)) * 1000,
                format=MONO,
                addr=addr,
                real_time=True,
                clock=StandingClock(0.04),
                reconnect=reconnect,
            )
            events = asyncio.ensure_future(anext(aiter(stream), None))
            await has_enough.wait()
            stream.stop()
            await events

    asyncio.run(asyncio.wait_for(main(), 30))
    assert sessions[0].audio == sessions[1].audio == bytes(range(256)) * 5


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=8), st.integers(0, 9), st.data())
def test_a_stopped_feed_gives_only_what_it_gave(blocks: list[bytes], n_before: int, data: st.DataObject) -> None:
    async def source() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    async def main() -> None:
        feed = Feed(source(), 1000)
        before = b""
        for _ in range(n_before):
            before += bytes(await feed.next() or b"")
        feed.stop()
        assert await feed.next() is None
        at = data.draw(st.integers(0, len(before)))
        feed.rewind(at)
        again = b""
        while (block := await feed.next()) is not None:
            again += block
        assert again == before[at:]
        await feed.aclose()

    asyncio.run(main())


def test_a_result_timeout_set_while_an_event_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """Everything is sent while the caller still has an event, and no receive is under way."""

    async def main() -> None:
        async def handler(websocket: ServerConnection) -> None:
            await websocket.recv()
            await send(websocket, active(0.0))
            async for message in websocket:
                if isinstance(message, str):
                    break
            await send(websocket, *UTTERANCE)

        async with serving(handler) as addr:
            gate = asyncio.Event()

            async def source() -> AsyncIterator[bytes]:
                await gate.wait()
                yield bytes(640)

            stream = client.stream(source(), format=MONO, addr=addr, result_timeout_s=20)
            types = []
            async for event in stream:
                types.append(event.type)
                gate.set()
                while not stream.stop_sent:
                    await asyncio.sleep(0)
            assert types == ["active", "inactive", "segment"]

    asyncio.run(asyncio.wait_for(main(), 30))
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_stop_of_a_microphone_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    class Still(client.Microphone):
        def __init__(self) -> None:
            self.format = MONO

        def stop(self) -> None:
            stopped.append(True)

    client.stream(Still()).stop()
    assert stopped == [True]
