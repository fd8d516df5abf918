"""The energy detector, against the same algorithm in NumPy, and against webrtcvad (another algorithm, in C).

"message" is one call with 20 ms of 16 kHz audio: what a live stream does, cost of the
call included. "second" is one call with 50 frames: what catching up does, and what the kernel itself costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxgate._native.energy import EnergyDetector

Benchmark = Callable[..., Any]

RATE = 16_000
FRAME = 320
AUDIO = (np.random.default_rng(0).standard_normal((1, RATE)) * np.sin(np.arange(RATE) / 2000) * 0.1).astype(np.float32)
GROUPS = {FRAME: "energy message: 20 ms", RATE: "energy second: 50 frames"}


class NumpyEnergyDetector:
    """NumPy where it helps (the energies of all frames at once), plain floats where it would only cost."""

    def __init__(self) -> None:
        self.level: float | None = None
        self.floor = -40.0
        self.block_min = math.inf
        self.block_mins = [math.inf] * 8
        self.n_block_frames = self.next_block = 0

    def probabilities(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        n_frames = planes.shape[1] // FRAME
        frames = planes[0, : n_frames * FRAME].reshape(n_frames, FRAME)
        centred = frames - frames.mean(axis=1, keepdims=True)
        levels = 10.0 * np.log10(np.einsum("ij,ij->i", centred, centred) / FRAME + 1e-12)
        return np.array([self.probability(level) for level in levels.tolist()], np.float32)[None]

    def probability(self, level: float) -> float:
        if not math.isfinite(level):
            return 0.0
        if level < -90.0:
            self.level = None
            return 0.0
        self.level = level if self.level is None else level + 0.5 * (self.level - level)
        self.block_min = min(self.block_min, self.level)
        lowest = min(self.block_min, *self.block_mins)
        self.n_block_frames += 1
        if self.n_block_frames == 15:
            self.block_mins[self.next_block] = self.block_min
            self.next_block = (self.next_block + 1) % 8
            self.block_min, self.n_block_frames = math.inf, 0
        self.floor = max(min(lowest + 1.5, self.floor + 0.8), -70.0)
        return 1.0 / (1.0 + math.exp((6.0 - (self.level - self.floor)) / 1.5))


@pytest.mark.parametrize("n_samples", GROUPS)
def test_voxgate_energy(benchmark: Benchmark, n_samples: int) -> None:
    benchmark.group = GROUPS[n_samples]
    benchmark(EnergyDetector(1, RATE).probabilities, AUDIO[:, -n_samples:].copy())


@pytest.mark.parametrize("n_samples", GROUPS)
def test_numpy_energy(benchmark: Benchmark, n_samples: int) -> None:
    np.testing.assert_allclose(
        NumpyEnergyDetector().probabilities(AUDIO), EnergyDetector(1, RATE).probabilities(AUDIO), atol=2e-4
    )
    benchmark.group = GROUPS[n_samples]
    benchmark(NumpyEnergyDetector().probabilities, AUDIO[:, -n_samples:].copy())


@pytest.mark.parametrize("n_samples", GROUPS)
def test_webrtcvad(benchmark: Benchmark, n_samples: int) -> None:
    webrtcvad = pytest.importorskip("webrtcvad")
    vad = webrtcvad.Vad(2)
    wire = (AUDIO[0, -n_samples:] * 32767).astype("<i2").tobytes()
    frames = [wire[start : start + 2 * FRAME] for start in range(0, len(wire), 2 * FRAME)]
    benchmark.group = GROUPS[n_samples]
    benchmark(lambda: [vad.is_speech(frame, RATE) for frame in frames])
