"""Audio is sent in messages of the chosen length, at the chosen pace."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from helpers.client_stream import MONO, ONE_SECOND, UTTERANCE, run, sent_by
from helpers.fake_clock import FakeClock
from helpers.scripted_server import (
    answering,
    serving,
)
from voxgate import client


@pytest.mark.parametrize("chunk_size", [1, 7, 255, 256, 257, 640, 1_000_000])
def test_chunks_join_to_the_audio_and_all_but_the_last_are_full(chunk_size: int) -> None:
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 3001, dtype=np.int16)
    received = sent_by((samples, 8000), chunk_size=chunk_size)
    assert received.audio == samples.astype("<i2").tobytes()
    assert set(received.lengths[:-1]) <= {chunk_size}
    assert received.lengths[-1] <= chunk_size


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
