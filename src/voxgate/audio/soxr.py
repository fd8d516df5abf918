"""The soxr resampler with the interface of the built-in one, and the resampling of whole recordings."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voxgate.audio.length import resampled_length
from voxgate.protocol.formats import MAX_RATE, MIN_RATE

__all__ = ["SOXR_QUALITIES", "SoxrResampler", "resample", "resampled_length"]

#: soxr's levels of quality, the fastest first.
SOXR_QUALITIES: Final = ("QQ", "LQ", "MQ", "HQ", "VHQ")


Planes = NDArray[np.float32]


class SoxrResampler:
    """soxr's stream with the interface of the built-in resampler, ``voxgate._native.resample.Resampler``.

    A stream of n samples becomes exactly :func:`resampled_length` samples per channel, aligned with the input.
    Rates 4000..192000 Hz; ``quality``: QQ, LQ, MQ, HQ, VHQ; ValueError for others. Threads: one caller at a time; soxr
    releases the GIL by itself.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int = 1, quality: str = "HQ") -> None:
        import soxr

        _check_rate("from_rate", from_rate)
        _check_rate("to_rate", to_rate)
        _check_choice("quality", quality, SOXR_QUALITIES)
        self.from_rate = from_rate
        self.to_rate = to_rate
        self.channels = channels
        self.quality = quality
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=quality)
        self.consumed = 0
        """Samples per channel received since the stream began."""
        self.produced = 0
        """Samples per channel returned since the stream began."""

    def push(self, planes: Planes) -> Planes:
        """float32 (channels, n) -> float32 (channels, m), m >= 0. ValueError for another number of channels."""
        if planes.ndim != 2 or planes.shape[0] != self.channels:
            raise ValueError(f"planes must have shape ({self.channels}, n), got {planes.shape}")
        self.consumed += planes.shape[1]
        ready = self._stream.resample_chunk(np.ascontiguousarray(planes.T))
        room = resampled_length(self.consumed, self.from_rate, self.to_rate) - self.produced
        result = np.ascontiguousarray(ready[:room].T)
        self.produced += result.shape[1]
        return result

    def finish(self) -> Planes:
        """End the stream; return its last samples, float32 (channels, m), and reset."""
        total = resampled_length(self.consumed, self.from_rate, self.to_rate)
        tail = self._stream.resample_chunk(np.empty((0, self.channels), np.float32), last=True)
        result = _exactly(np.ascontiguousarray(tail.T), total - self.produced)
        self.reset()
        return result

    def reset(self) -> None:
        """Drop the stream; the next push begins a new one."""
        self._stream.clear()
        self.consumed = 0
        self.produced = 0

    @property
    def delay_s(self) -> float:
        """The longest time from the arrival of a sample until the output for it is returned, in seconds of audio.

        Measured at the first call per ratio and quality, to 1 ms; this takes about 3 ms.
        """
        return _soxr_delay_s(self.from_rate, self.to_rate, self.quality)


def resample(samples: NDArray[np.floating], from_rate: int, to_rate: int, quality: str = "HQ") -> Planes:
    """Resample a whole recording with soxr.

    ``samples``: floats, shape (n,) or (channels, n). Returns float32 of the same number of dimensions with
    resampled_length(n, from_rate, to_rate) samples per channel, aligned with the input. ``quality``: QQ, LQ, MQ, HQ,
    VHQ. Rates 4000..192000 Hz. TypeError for samples that are not floats, ValueError for another shape, a rate or a
    quality out of range.
    """
    _check_rate("from_rate", from_rate)
    _check_rate("to_rate", to_rate)
    _check_choice("quality", quality, SOXR_QUALITIES)
    if not isinstance(samples, np.ndarray) or not np.issubdtype(samples.dtype, np.floating):
        got = getattr(samples, "dtype", type(samples).__name__)
        raise TypeError(f"samples must be an array of floats, -1..1, got {got}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] == 0):
        raise ValueError(f"samples must have shape (n,) or (channels, n), got {samples.shape}")
    audio = samples.astype(np.float32, copy=False)
    if from_rate == to_rate or audio.shape[-1] == 0:
        return audio.copy()
    import soxr

    converted = soxr.resample(np.ascontiguousarray(audio.T), from_rate, to_rate, quality=quality).T
    return _exactly(np.ascontiguousarray(converted), resampled_length(audio.shape[-1], from_rate, to_rate))


def _exactly(samples: Planes, n_samples: int) -> Planes:
    """Cut or pad with silence: soxr may round the total differently, by one sample."""
    have = samples.shape[-1]
    if have > n_samples:
        return np.ascontiguousarray(samples[..., :n_samples])
    if have < n_samples:
        return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, n_samples - have)])
    return samples


def _check_rate(name: str, rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{name} must be within {MIN_RATE}..{MAX_RATE} Hz, got {rate}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


@lru_cache(maxsize=64)
def _soxr_delay_s(from_rate: int, to_rate: int, quality: str) -> float:
    """The largest lag of the output during a second of silence in chunks of a millisecond."""
    resampler = SoxrResampler(from_rate, to_rate, 1, quality)
    chunk = np.zeros((1, max(1, from_rate // 1000)), np.float32)
    longest_s = 0.0
    while resampler.consumed < from_rate:
        waiting_since_s = resampler.produced / to_rate
        if resampler.push(chunk).shape[1]:
            longest_s = max(longest_s, resampler.consumed / from_rate - waiting_since_s)
    return longest_s
