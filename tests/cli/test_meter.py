"""Levels and outlines of what goes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.cli.meter import Envelope, Meter
from voxgate.protocol.formats import AudioFormat

STEREO = AudioFormat(2, 8000, 16, False)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_an_envelope_holds_every_extreme_in_its_piece(cuts: list[int], points: int, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, sum(cuts)).astype(np.float32)
    envelope = Envelope(points)
    at = 0
    for n in cuts:
        envelope.push(samples[at : at + n])
        at += n
    times, lows, highs = envelope.curve(1)
    assert envelope.n_samples == len(samples)
    assert len(times) <= 2 * points
    if not len(samples):
        assert len(times) == 0
        return
    edges = times.astype(int)
    assert edges[0] == 0
    assert np.array_equal(lows, np.minimum.reduceat(samples, edges))
    assert np.array_equal(highs, np.maximum.reduceat(samples, edges))


@pytest.mark.parametrize("cut", [1, 3, 1000, 200_000])
def test_the_level_of_each_channel_since_it_was_asked_for(cut: int) -> None:
    meter = Meter(STEREO, 100)
    time = np.arange(8000) / 8000
    frames = np.stack([np.full(8000, 16_384), 32_767 * np.sin(2 * np.pi * 100 * time)], axis=1).astype("<i2").tobytes()
    for start in range(0, len(frames), cut):
        meter.take(memoryview(frames)[start : start + cut])
    assert meter.levels_dbfs() == pytest.approx([-6.02, -3.01], abs=0.01)
    assert meter.levels_dbfs() == pytest.approx([-6.02, -3.01], abs=0.01)  # nothing came
    meter.take(memoryview(bytes(400)))
    assert meter.levels_dbfs() == [-math.inf, -math.inf]
    assert [envelope.n_samples for envelope in meter.envelopes] == [8100, 8100]
    assert meter.envelopes[0].curve(8000)[2].max() == 0.5
    assert Meter(STEREO).envelopes == []
