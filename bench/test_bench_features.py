"""The features model beside the same features in NumPy, on two seconds of a voice-like sound."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference import features_ref
from voxgate.models.features import Features

GROUP = "features of 2 s"


def test_voxgate_features(benchmark: Any, voice: np.ndarray) -> None:
    benchmark.group = GROUP
    model = Features()
    model.infer(voice)
    benchmark(model.infer, voice)
    if benchmark.stats is not None:
        benchmark.extra_info["real_time_factor"] = benchmark.stats.stats.min / (len(voice) / 16_000)


def test_numpy_features(benchmark: Any, voice: np.ndarray) -> None:
    benchmark.group = GROUP
    benchmark(features_ref.features, voice)
