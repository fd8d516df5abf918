"""The features of Whisper: a log-mel spectrogram of 16 kHz audio."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BANDS", "HOP_SAMPLES", "SAMPLE_RATE", "log_mel"]

SAMPLE_RATE: Final = 16_000
BANDS: Final = 80
HOP_SAMPLES: Final = 160
WINDOW_SAMPLES: Final = 400

# OpenBLAS computes products of this size in the thread that calls it. For larger ones it waits for threads of its own,
# which a busy machine runs late: 20 ms of a core for all frames in place of 4.
_FEW_FRAMES: Final = 16

Samples = npt.NDArray[np.float32]


def log_mel(samples: Samples, n_silent: int = 0) -> Samples:
    """float32, shape (80, samples // 160), of `samples`, float32, shape (samples,), at least 201 of them. n_silent: so
    many at their beginning are zeros, whose frames are computed once.

    As OpenAI's Whisper computes it (Slaney's mel scale, 25 ms windows every 10 ms, the first centred at 0, dynamics of
    8 powers of ten below the loudest), of audio that was brought to a mean of 0 and a variance of 1. Pure; any thread.
    """
    level = samples - samples.mean()
    level /= np.sqrt(level.var() + np.float32(1e-7))
    padded = np.pad(level, WINDOW_SAMPLES // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    n_frames = len(samples) // HOP_SAMPLES
    n_same = min(max(0, (n_silent - WINDOW_SAMPLES // 2) // HOP_SAMPLES), n_frames - 1)
    spectrum = np.fft.rfft(frames[n_same:n_frames] * _hann())
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    parts = [_mel_filters() @ power[at : at + _FEW_FRAMES].T for at in range(0, len(power), _FEW_FRAMES)]
    bands = np.log10(np.maximum(np.concatenate(parts, axis=1), np.float32(1e-10)))
    result: Samples = (np.maximum(bands, bands.max() - np.float32(8)) + np.float32(4)) / np.float32(4)
    return np.pad(result, ((0, 0), (n_same, 0)), mode="edge")


@cache
def _hann() -> Samples:
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


@cache
def _mel_filters() -> Samples:
    """Triangles of equal area, shape (80, 201), whose corners lie at equal distances in mel."""
    corners_hz = _hz(np.linspace(0, _mel(SAMPLE_RATE / 2), BANDS + 2))
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, WINDOW_SAMPLES // 2 + 1)
    low, middle, high = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    return (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)


# Slaney's mel scale: linear below 1 kHz, where a mel is 200/3 Hz, and logarithmic above, 27 mels for a factor of 6.4.


def _mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _hz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
