"""Whisper's features as the paper of the window, the transform and the filters would have them: one frame at a time, in
float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 80


def mel_of(hz: float) -> float:
    return 3 * hz / 200 if hz <= 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def hz_of(mel: float) -> float:
    return 200 * mel / 3 if mel <= 15 else 1000 * np.exp((mel - 15) * np.log(6.4) / 27)


def filter_at(band: int, hz: float) -> float:
    """A triangle over three neighbours of 82 points at equal distances in mel, with an area of 1 Hz."""
    step = mel_of(RATE / 2) / (BANDS + 1)
    low, middle, high = (hz_of((band + k) * step) for k in range(3))
    height = 2 / (high - low)
    if low <= hz <= middle:
        return height * (hz - low) / (middle - low)
    return height * (high - hz) / (high - middle) if middle < hz <= high else 0.0


def log_mel(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    audio = samples.astype(np.float64)
    audio = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    filters = np.array([[filter_at(band, k * RATE / WINDOW) for k in range(WINDOW // 2 + 1)] for band in range(BANDS)])
    mirrored = np.concatenate([audio[WINDOW // 2 : 0 : -1], audio, audio[-2 : -WINDOW // 2 - 2 : -1]])
    columns = []
    for frame in range(len(samples) // HOP):
        piece = mirrored[frame * HOP : frame * HOP + WINDOW]
        weighted = [piece[n] * np.sin(np.pi * n / WINDOW) ** 2 for n in range(WINDOW)]
        columns.append(filters @ np.abs(np.fft.rfft(weighted)) ** 2)
    powers = np.log10(np.maximum(np.array(columns).T, 1e-10))
    return (np.maximum(powers, powers.max() - 8) + 4) / 4
