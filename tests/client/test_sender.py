"""Audio is sent in messages of the chosen length, at the chosen pace."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from helpers.scripted_server import (
    Received,
    active,
    answering,
    final,
    inactive,
    serving,
)
from voxgate import client
from voxgate.protocol.events import Event
from voxgate.protocol.formats import AudioFormat

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


def sent_by(source: client.Source, **options: Any) -> Received:
    """What reaches the server."""
    sessions: list[Received] = []
    run(answering(sessions=sessions), source, **options)
    return sessions[0]


@pytest.mark.parametrize("chunk_size", [1, 7, 255, 256, 257, 640, 1_000_000])
def test_chunks_join_to_the_audio_and_all_but_the_last_are_full(chunk_size: int) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 3001, dtype=np.int16)
    received = sent_by((samples, 8000), chunk_size=chunk_size)
    assert received.audio == samples.astype("<i2").tobytes()
    assert set(received.lengths[:-1]) <= {chunk_size}
    assert received.lengths[-1] <= chunk_size


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
