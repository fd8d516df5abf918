"""The pitch model beside the same method in NumPy, and what it costs to hear a recording in many small calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference import pitch_ref
from voxgate.models.pitch import Pitch

GROUP = "pitch of 2 s"


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    rng = np.random.default_rng(7)
    t = np.arange(32_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    return (0.1 * voice + 0.005 * rng.standard_normal(len(t))).astype(np.float32)


def test_voxgate_pitch(benchmark: Any, audio: np.ndarray) -> None:
    benchmark.group = GROUP
    model = Pitch()
    model.infer(audio)
    benchmark(model.infer, audio)
    if benchmark.stats is not None:
        benchmark.extra_info["real_time_factor"] = benchmark.stats.stats.min / (len(audio) / 16_000)


@pytest.mark.parametrize("call_ms", [20, 100])
def test_voxgate_pitch_in_calls(benchmark: Any, audio: np.ndarray, call_ms: int) -> None:
    benchmark.group = GROUP
    model = Pitch()
    pieces = np.split(audio, range(16 * call_ms, len(audio), 16 * call_ms))

    def session() -> None:
        state = model.open()
        for piece in pieces:
            model.step(piece, state)
        model.finish(state)

    benchmark(session)


def test_numpy_pitch(benchmark: Any, audio: np.ndarray) -> None:
    benchmark.group = GROUP
    benchmark(pitch_ref.pitches, audio)
