"""EnergyDetector: probabilities that are probabilities, each channel by itself, and the textbook's."""

from __future__ import annotations

import numpy as np

from fuzz.source import Source
from reference import energy_ref
from voxgate._native.energy import EnergyDetector

WILD = np.array([0.0, 1e-40, -1e-40, 1e30, -1e30, 3.4e38, np.inf, -np.inf, np.nan], np.float32)


def fuzz(data: bytes) -> None:
    source = Source(data)
    rate, channels = source.pick((8000, 16_000, 48_000)), source.integer(1, 4)
    frame = rate // 50
    planes = np.concatenate(
        [
            np.stack([source.plane(source.integer(0, 6 * frame))] * channels)
            * np.linspace(0.3, 1, channels, dtype=np.float32)[:, None]
            for _ in range(source.integer(1, 5))
        ],
        axis=1,
    )
    n_frames = planes.shape[1] // frame
    detector = EnergyDetector(channels, rate)
    assert detector.frame_samples == frame
    heard = detector.probabilities(planes[:, : n_frames * frame])
    assert heard.shape == (channels, n_frames)
    assert ((heard >= 0) & (heard <= 1)).all()
    for channel in range(channels):
        alone = EnergyDetector(1, rate).probabilities(planes[channel : channel + 1, : n_frames * frame])
        np.testing.assert_array_equal(alone[0], heard[channel])
        np.testing.assert_allclose(heard[channel], energy_ref.probabilities(planes[channel], rate), atol=2e-3)
    detector.reset()
    np.testing.assert_array_equal(detector.probabilities(planes[:, : n_frames * frame]), heard)
    # What no decoder lets through: it may say anything, but afterwards it hears again.
    wild = source.pick(WILD)
    detector.probabilities(np.full((channels, frame), wild, np.float32))
    detector.reset()
    np.testing.assert_array_equal(detector.probabilities(planes[:, : n_frames * frame]), heard)


SEEDS = [bytes([rate, 1, 4, 3, 7, 200, 3, 0, 9, 0, 5, 100, 2, 1]) for rate in range(3)]
