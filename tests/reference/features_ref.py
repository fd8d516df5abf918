"""The features model as a textbook would write it: NumPy, one formula after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 16_000


def dbfs(amplitude: float) -> float:
    return max(-120.0, 20 * np.log10(amplitude)) if amplitude > 0 else -120.0


def yin_pitches_hz(samples: np.ndarray, threshold: float = 0.15) -> np.ndarray:
    """One value per frame, 0 = unvoiced. The equation numbers are those of the YIN paper."""
    window, hop, tau_min, tau_max = 400, 320, 32, 267
    x = samples.astype(np.float64)
    pitches = []
    for start in range(0, len(x) - (window + tau_max) + 1, hop):
        frame = x[start : start + window + tau_max]
        pitches.append(0.0)
        if np.mean(frame[:window] ** 2) <= 1e-6:
            continue
        shifted = np.lib.stride_tricks.sliding_window_view(frame, window)  # (tau, j) -> x[j + tau]
        difference = np.sum((frame[:window] - shifted) ** 2, axis=1)  # (6)
        taus = np.arange(1, tau_max + 1)
        sums = np.cumsum(difference[1:])
        normalised = np.ones(tau_max + 1)  # (8)
        np.divide(difference[1:] * taus, sums, out=normalised[1:], where=sums > 0)
        below = np.flatnonzero(normalised[tau_min:tau_max] < threshold)
        if len(below) == 0:
            continue
        tau = tau_min + int(below[0])
        while tau < tau_max and normalised[tau + 1] < normalised[tau]:
            tau += 1
        if tau == tau_max:
            continue
        left, middle, right = normalised[tau - 1 : tau + 2]
        curvature = left - 2 * middle + right
        offset = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
        pitches[-1] = RATE / (tau + float(np.clip(offset, -0.5, 0.5)))
    return np.array(pitches)


def spectral_centroid_hz(samples: np.ndarray) -> float | None:
    size, hop = 512, 256
    if len(samples) == 0:
        return None
    n_frames = int(np.ceil(max(0, len(samples) - size) / hop)) + 1
    padded = np.zeros((n_frames - 1) * hop + size)
    padded[: len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(size + 1)[:-1], axis=1))
    if magnitudes.sum() == 0:
        return None
    return float((magnitudes * np.fft.rfftfreq(size, 1 / RATE)).sum() / magnitudes.sum())


def features(samples: np.ndarray) -> dict[str, Any]:
    samples = np.asarray(samples, np.float64)
    pitches = yin_pitches_hz(samples)
    voiced = pitches[pitches > 0]
    return {
        "duration_s": len(samples) / RATE,
        "level_dbfs": dbfs(float(np.sqrt(np.mean(samples**2)))) if len(samples) else -120.0,
        "peak_dbfs": dbfs(float(np.max(np.abs(samples)))) if len(samples) else -120.0,
        "pitch_hz": float(np.median(voiced)) if len(voiced) else None,
        "voiced_ratio": len(voiced) / len(pitches) if len(pitches) else 0.0,
        "spectral_centroid_hz": spectral_centroid_hz(samples),
    }
