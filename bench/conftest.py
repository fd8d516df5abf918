"""What several benchmarks measure on."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Two seconds of a voice-like sound at 16 kHz."""
    rng = np.random.default_rng(7)
    t = np.arange(32_000) / 16_000
    tones = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20))
    return (0.1 * tones + 0.005 * rng.standard_normal(len(t))).astype(np.float32)
