"""A model without weights: loudness, pitch and brightness of a piece of audio, computed in Numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from voxgate.models.base import Model, Samples
from voxgate.models.compiling import compiled

__all__ = ["Features"]

_FLOOR_DBFS = -120.0

# Pitch, with the names and defaults of the YIN paper.
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 500.0
_WINDOW_S, _PITCH_HOP_S = 0.025, 0.020
_APERIODICITY = 0.15
_SILENCE_DBFS = -60.0

# Spectrum.
_FFT_SAMPLES, _FFT_HOP_SAMPLES = 512, 256


class Features(Model):
    """Describes its audio. The answer has these keys, in this order:

    ``duration_s``
        length, seconds.
    ``level_dbfs``
        root mean square over the whole piece, dB relative to a full-scale square wave (a full-scale sine reads -3.01),
        at least -120.
    ``peak_dbfs``
        highest absolute sample, dB relative to full scale, at least -120.
    ``pitch_hz``
        median of the fundamental frequency over the voiced frames, 60..500 Hz; None when no frame is voiced. By YIN
        (A. de Cheveigné, H. Kawahara: "YIN, a fundamental frequency estimator for speech and music", JASA 111(4),
        2002), steps 2 to 5: difference function over 25 ms, cumulative mean normalisation, absolute threshold 0.15,
        parabolic interpolation. One frame of about 42 ms every 20 ms; frames below -60 dBFS count as unvoiced.
    ``voiced_ratio``
        voiced frames / all frames, 0..1; 0 for audio shorter than one frame.
    ``spectral_centroid_hz``
        centre of mass of the magnitude spectrum (Hann windows of 512 samples every 256, the last padded with
        zeros, summed over the piece, so that loud parts weigh more); None for digital silence and for no audio.

    All numbers are finite; samples that are not finite count as 0. The GIL is released, except for some microseconds
    per call. Any number of threads may call it at once.
    """

    name = "features"

    def __init__(self) -> None:
        self._hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES)).astype(np.float64)
        angles = 2.0 * np.pi * np.arange(_FFT_SAMPLES // 2) / _FFT_SAMPLES
        self._cosines, self._sines = np.cos(angles), np.sin(angles)
        bits = _FFT_SAMPLES.bit_length() - 1
        self._reversed = np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(_FFT_SAMPLES)], np.int64)
        rate = self.sample_rate
        self._tau_min, self._tau_max = round(rate / _HIGHEST_HZ), math.ceil(rate / _LOWEST_HZ)
        self._window_samples, self._hop_samples = round(_WINDOW_S * rate), round(_PITCH_HOP_S * rate)

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        samples = np.require(audio, np.float32, ["C", "W"])
        mean_square, peak, finite = _power(samples)
        if not finite:
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
            mean_square, peak, _ = _power(samples)
        frame_samples = self._window_samples + self._tau_max
        n_frames = max(0, (len(samples) - frame_samples) // self._hop_samples + 1)
        pitches_hz = np.zeros(n_frames)
        silence = self._window_samples * 10.0 ** (_SILENCE_DBFS / 10.0)
        _pitches(
            samples,
            self._window_samples,
            self._hop_samples,
            self._tau_min,
            self._tau_max,
            silence,
            self.sample_rate,
            pitches_hz,
        )
        voiced_hz = pitches_hz[pitches_hz > 0.0]
        centroid = _centroid(samples, self._hann, self._cosines, self._sines, self._reversed, _FFT_HOP_SAMPLES)
        return {
            "duration_s": round(len(samples) / self.sample_rate, 4),
            "level_dbfs": _dbfs(math.sqrt(mean_square)),
            "peak_dbfs": _dbfs(peak),
            "pitch_hz": round(float(np.median(voiced_hz)), 2) if len(voiced_hz) else None,
            "voiced_ratio": round(len(voiced_hz) / n_frames, 4) if n_frames else 0.0,
            "spectral_centroid_hz": round(centroid * self.sample_rate / _FFT_SAMPLES, 1) if centroid >= 0.0 else None,
        }


def _dbfs(amplitude: float) -> float:
    return round(max(_FLOOR_DBFS, 20.0 * math.log10(amplitude)), 2) if amplitude > 0.0 else _FLOOR_DBFS


@compiled("Tuple((float64, float64, boolean))(float32[::1])")
def _power(samples: Samples) -> tuple[float, float, bool]:
    """Mean square, highest absolute value, and whether all samples are finite (if not, the other values are
    meaningless).
    """
    total = 0.0
    peak = 0.0
    for i in range(samples.shape[0]):
        sample = np.float64(samples[i])
        total += sample * sample
        peak = max(peak, abs(sample))
    return total / max(1, samples.shape[0]), peak, np.isfinite(total)


@compiled("void(float32[::1], int64, int64, int64, int64, float64, float64, float64[::1])")
def _pitches(
    samples: Samples,
    window: int,
    hop: int,
    tau_min: int,
    tau_max: int,
    silence: float,
    rate: float,
    pitches_hz: np.ndarray[Any, np.dtype[np.float64]],
) -> None:
    """YIN: writes the pitch of each frame, 0 if unvoiced. `silence`: the highest energy of a silent window."""
    difference = np.empty(tau_max + 1, np.float32)
    normalised = np.empty(tau_max + 1, np.float64)
    for frame in range(pitches_hz.shape[0]):
        x = samples[frame * hop : frame * hop + window + tau_max]
        energy = 0.0
        for j in range(window):
            energy += x[j] * x[j]
        pitches_hz[frame] = 0.0
        if energy <= silence:
            continue
        # Sums over j in the outer loop: the inner one then has no dependency between its steps and is vectorised.
        difference[:] = 0.0
        for j in range(window):
            for tau in range(tau_max + 1):
                step = x[j] - x[j + tau]
                difference[tau] += step * step
        total = 0.0
        normalised[0] = 1.0
        for tau in range(1, tau_max + 1):
            total += difference[tau]
            normalised[tau] = difference[tau] * tau / total if total > 0.0 else 1.0
        tau = tau_min
        while tau < tau_max and normalised[tau] >= _APERIODICITY:
            tau += 1
        if tau >= tau_max:
            continue
        while tau + 1 <= tau_max and normalised[tau + 1] < normalised[tau]:
            tau += 1
        if tau >= tau_max:
            continue
        left, middle, right = normalised[tau - 1], normalised[tau], normalised[tau + 1]
        curvature = left - 2.0 * middle + right
        offset = 0.5 * (left - right) / curvature if curvature > 0.0 else 0.0
        pitches_hz[frame] = rate / (tau + min(0.5, max(-0.5, offset)))


@compiled("float64(float32[::1], float64[::1], float64[::1], float64[::1], int64[::1], int64)")
def _centroid(
    samples: Samples,
    hann: np.ndarray[Any, np.dtype[np.float64]],
    cosines: np.ndarray[Any, np.dtype[np.float64]],
    sines: np.ndarray[Any, np.dtype[np.float64]],
    reversed_bits: np.ndarray[Any, np.dtype[np.int64]],
    hop: int,
) -> float:
    """Centre of mass of the summed magnitude spectra in bins; -1 when all samples are zero.

    Two frames go through one complex FFT (radix 2, decimation in time), one as its real and one as its imaginary
    part, and are separated by symmetry.
    """
    size = hann.shape[0]
    n_samples = samples.shape[0]
    n_frames = max(0, n_samples - size + hop - 1) // hop + 1 if n_samples > 0 else 0
    re = np.empty(size)
    im = np.empty(size)
    weighted = 0.0
    total = 0.0
    for frame in range(0, n_frames, 2):
        first = frame * hop
        second = first + hop if frame + 1 < n_frames else n_samples
        for i in range(size):
            to = reversed_bits[i]
            re[to] = hann[i] * samples[first + i] if first + i < n_samples else 0.0
            im[to] = hann[i] * samples[second + i] if second + i < n_samples else 0.0
        half = 1
        while half < size:
            stride = size // (2 * half)
            for start in range(0, size, 2 * half):
                for k in range(half):
                    c, s = cosines[k * stride], sines[k * stride]
                    a, b = start + k, start + k + half
                    u, v = re[b] * c + im[b] * s, im[b] * c - re[b] * s
                    re[b], im[b] = re[a] - u, im[a] - v
                    re[a], im[a] = re[a] + u, im[a] + v
            half *= 2
        for k in range(1, size // 2 + 1):
            a, b = re[k], im[k]
            c, d = re[size - k], im[size - k]
            magnitude = 0.5 * (math.hypot(a + c, b - d) + math.hypot(b + d, a - c))
            weighted += k * magnitude
            total += magnitude
        total += abs(re[0]) + abs(im[0])
    return weighted / total if total > 0.0 else -1.0
