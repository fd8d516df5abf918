"""The pitch model beside the same method in NumPy, and what it costs to hear a recording in many small calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference import pitch_ref
from voxgate.models.pitch import Pitch

GROUP = "pitch of 2 s"


def test_voxgate_pitch(benchmark: Any, voice: np.ndarray) -> None:
    benchmark.group = GROUP
    model = Pitch()
    model.infer(voice)
    benchmark(model.infer, voice)
    if benchmark.stats is not None:
        benchmark.extra_info["real_time_factor"] = benchmark.stats.stats.min / (len(voice) / 16_000)


@pytest.mark.parametrize("call_ms", [20, 100])
def test_voxgate_pitch_in_calls(benchmark: Any, voice: np.ndarray, call_ms: int) -> None:
    benchmark.group = GROUP
    model = Pitch()
    pieces = np.split(voice, range(16 * call_ms, len(voice), 16 * call_ms))

    def session() -> None:
        state = model.open()
        for piece in pieces:
            model.step(piece, state)
        model.finish(state)

    benchmark(session)


def test_numpy_pitch(benchmark: Any, voice: np.ndarray) -> None:
    benchmark.group = GROUP
    benchmark(pitch_ref.pitches, voice)
