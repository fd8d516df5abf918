"""The blocking interface gives the same events and errors as the asynchronous one."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from helpers.scripted_server import (
    active,
    answering,
    final,
    inactive,
    receive_session,
    send,
    serving_in_thread,
)
from voxgate import client
from voxgate.protocol.events import Active, Inactive, Segment
from voxgate.protocol.formats import AudioFormat

MONO = AudioFormat(1, 16_000, 16, False)


ONE_SECOND = bytes(32_000)


UTTERANCE = (active(0.1), inactive(0.6), final(0.1, 0.6, loudness=-20.5))


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
