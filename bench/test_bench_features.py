"""The features model beside the same features in NumPy, on two seconds of a voice-like sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reference import features_ref
from voxgate.models.features import Features

GROUP = "features of 2 s"


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    rng = np.random.default_rng(7)
    t = np.arange(32_000) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    return (0.1 * voice + 0.005 * rng.standard_normal(len(t))).astype(np.float32)


def test_voxgate_features(benchmark: Any, audio: np.ndarray) -> None:
    benchmark.group = GROUP
    model = Features()
    model.infer(audio)
    benchmark(model.infer, audio)
    if benchmark.stats is not None:
        benchmark.extra_info["real_time_factor"] = benchmark.stats.stats.min / (len(audio) / 16_000)


def test_numpy_features(benchmark: Any, audio: np.ndarray) -> None:
    benchmark.group = GROUP
    benchmark(features_ref.features, audio)
