"""The client against a server that behaves as streamer-template does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET
from websockets.asyncio.server import ServerConnection

from helpers import streamer_template
from helpers.scripted_server import (
    active,
    answering,
    error,
    final,
    inactive,
    receive_session,
    send,
    serving,
    serving_in_thread,
)
from helpers.wire import bursts
from voxgate import client
from voxgate.client.check import ResultCheck
from voxgate.client.recent import RecentEvents
from voxgate.protocol.events import Active, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat

FORMAT = AudioFormat(1, 16_000, 16, False)
SPOKEN = (bursts((0.5, 1.3), (3.0, 3.8), length_s=5.0) * 32_767).astype(np.int16)  # the second one ends with the audio
SPEECH = SPOKEN[: int(4.1 * 16_000)]


def play(source: Any, route: str = "segmented", **options: Any) -> list[Event]:
    with serving_in_thread(streamer_template.handler, f"/api/v1/{route}") as addr:
        return client.collect(source, addr=addr, **options)


async def closing_without_a_code(websocket: ServerConnection) -> None:
    async with websocket.send_context():
        websocket.protocol.send_close()


@pytest.mark.parametrize("reconnect", [False, True])
def test_an_empty_close_after_stop_is_a_good_end(reconnect: bool) -> None:
    events = play((SPEECH, 16_000), reconnect=reconnect)
    finals = [event for event in events if isinstance(event, Segment) and event.is_final]
    assert len(finals) == sum(isinstance(event, Active) for event in events) == 2
    ends = [event.time for event in events if isinstance(event, Inactive)]
    assert [final.end_time for final in finals] == pytest.approx(ends, abs=0.0011)


@pytest.mark.parametrize("chunk_size", [256, 640, 5000, 12_346])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("route", ["simple", "segmented"])
def test_every_cut_between_samples_is_heard(route: str, channels: int, chunk_size: int) -> None:
    planes = np.stack([SPEECH] * channels)
    events = play((planes, 16_000), route, chunk_size=chunk_size)
    for channel in range(channels):
        last = [event for event in events if isinstance(event, Segment) and event.channel == channel][-1]
        assert last.end_time == pytest.approx(4.1, abs=0.001)


@pytest.mark.parametrize("route", ["simple", "segmented"])
def test_messages_that_cut_a_sample_are_dropped_there_and_that_is_told(route: str) -> None:
    with pytest.raises(client.MissingResults) as caught:
        play((SPEECH, 16_000), route, chunk_size=257)
    if route == "segmented":
        assert "chunk size that is a multiple of 2 bytes" in str(caught.value)
    else:
        assert "no result for" in str(caught.value)


def test_a_format_that_is_dropped_there_is_told() -> None:
    with pytest.raises(client.MissingResults, match="drop audio in s24"):
        play(bytes(48_000), format=AudioFormat(1, 16_000, 24, False))


def test_silence_is_no_missing_speech() -> None:
    assert play((np.zeros(32_000, np.int16), 16_000)) == []


@pytest.mark.parametrize("events", [(active(0.1),), (active(0.1), inactive(0.6)), ()])
def test_an_empty_close_before_everything_came_is_none(events: tuple[dict[str, Any], ...]) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        await send(websocket, *events)
        await closing_without_a_code(websocket)

    route = "segmented" if events else "simple"
    with serving_in_thread(handler, f"/api/v1/{route}") as addr, pytest.raises(client.MissingResults) as caught:
        client.collect(bytes(32_000), format=FORMAT, addr=addr)
    assert len(caught.value.events) == len(events)


def test_an_empty_close_before_stop_is_an_error() -> None:
    async def silence() -> AsyncIterator[bytes]:
        yield bytes(3200)
        await asyncio.Event().wait()

    async def main() -> None:
        async with serving(closing_without_a_code) as addr:
            async for _ in client.stream(silence(), format=FORMAT, addr=addr):
                pass

    with pytest.raises(client.ClosedError, match="closed without a code, after") as caught:
        asyncio.run(asyncio.wait_for(main(), 30))
    assert caught.value.received_code == 1005


def test_times_that_are_added_up_in_float32() -> None:
    """Ten minutes of calls of 128 samples: the sum is 237 ms short of the truth."""

    def problems(n: int, original_rate: int | None) -> list[str]:
        check = ResultCheck(1, covering=True)
        end = np.float32(0)
        for _ in range(n):
            start, end = end, end + np.float32(128 / 16_000)
            check.receive(Segment(float(start), float(end), UNSET, {}))
        return check.problems(600.0, original_rate)

    assert problems(75_000, 16_000) == []
    assert problems(75_000, None) == ["channel 0: no result for 599.763-600.000 s"]
    assert problems(60_000, 16_000) != []


def test_the_resampler_s_last_milliseconds_are_not_missing() -> None:
    def problems(end_s: float, rate: int | None) -> list[str]:
        check = ResultCheck(1, covering=True)
        check.receive(Segment(0.0, end_s, UNSET, {}))
        return check.problems(1.0, rate)

    assert problems(0.984, 8000) == []
    assert problems(0.96, 8000) != []
    assert problems(0.984, 16_000) != []
    assert problems(0.984, None) != []


# ------------------------------------------------------------------------------------------- what an error carries

CAME = (active(0.1), inactive(0.6), final(0.1, 0.6), active(0.7), inactive(0.9))


def collect(addr: str) -> None:
    client.collect(bytes(32_000), format=FORMAT, addr=addr)


def stream_blocking(addr: str) -> None:
    for _ in client.stream_blocking(bytes(32_000), format=FORMAT, addr=addr):
        pass


def stream(addr: str) -> None:
    async def main() -> None:
        async for _ in client.stream(bytes(32_000), format=FORMAT, addr=addr):
            pass

    asyncio.run(main())


def reconnecting(addr: str) -> None:
    client.collect(bytes(32_000), format=FORMAT, addr=addr, reconnect=client.Reconnect(1, 0, 0))


@pytest.mark.parametrize("way", [collect, stream_blocking, stream, reconnecting])
def test_every_error_carries_what_came_before_it(way: Any) -> None:
    with serving_in_thread(answering(*CAME)) as addr, pytest.raises(client.MissingResults) as missing:
        way(addr)
    assert [event.type for event in missing.value.events] == [event["type"] for event in CAME]
    rejection = error("no", "invalid_start")
    with serving_in_thread(answering(*CAME, rejection)) as addr, pytest.raises(client.RejectedError) as rejected:
        way(addr)
    assert [event.type for event in rejected.value.events] == [event["type"] for event in (*CAME, rejection)]


def test_reconnecting_keeps_what_came_before_the_connection_was_lost() -> None:
    sessions = iter(((active(0.1), inactive(0.3), final(0.1, 0.3)), (active(0.2),)))

    async def handler(websocket: ServerConnection) -> None:
        await receive_session(websocket)
        await send(websocket, *next(sessions))
        await websocket.close(1012)

    with serving_in_thread(handler) as addr, pytest.raises(client.ClosedError) as caught:
        reconnecting(addr)
    assert [event.type for event in caught.value.events][:4] == ["active", "inactive", "segment", "active"]


def test_an_error_keeps_bounded_memory() -> None:
    events = [Active(float(second)) for second in range(9)]
    recent = RecentEvents(max_bytes=100)
    for event in events:
        recent.add(event, 30)
    assert recent.all() == tuple(events[-3:])
    recent.add(events[0], 1000)
    assert recent.all() == (events[0],)
