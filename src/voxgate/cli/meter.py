"""The level of the sent audio, and its envelope."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from voxgate._native.pcm import PcmDecoder
from voxgate.protocol.formats import AudioFormat

__all__ = ["Envelope", "Meter"]

_DECODE_BYTES = 65_536


class Envelope:
    """The lowest and highest values of at most 2 * `points` equal pieces of one channel of any length."""

    def __init__(self, points: int) -> None:
        self._points = points
        self._piece = 1  # samples
        self._lows: list[npt.NDArray[np.float32]] = []
        self._highs: list[npt.NDArray[np.float32]] = []
        self._n_pieces = 0
        self._rest = np.zeros(0, np.float32)
        self.n_samples = 0

    def push(self, samples: npt.NDArray[np.float32]) -> None:
        """Appends samples, float32 of shape (n,)."""
        self.n_samples += len(samples)
        rest = np.concatenate((self._rest, samples))
        n_whole = len(rest) // self._piece
        cut = rest[: n_whole * self._piece].reshape(n_whole, self._piece)
        self._add(cut.min(axis=1), cut.max(axis=1))
        self._rest = rest[n_whole * self._piece :].copy()
        while self._n_pieces >= 2 * self._points:
            self._halve()

    def _add(self, lows: npt.NDArray[np.float32], highs: npt.NDArray[np.float32]) -> None:
        self._lows.append(lows)
        self._highs.append(highs)
        self._n_pieces += len(lows)

    def _halve(self) -> None:
        lows, highs = np.concatenate(self._lows), np.concatenate(self._highs)
        whole = len(lows) // 2 * 2
        last = (lows[whole:], highs[whole:])
        self._lows, self._highs, self._n_pieces = [], [], 0
        self._add(lows[:whole].reshape(-1, 2).min(axis=1), highs[:whole].reshape(-1, 2).max(axis=1))
        self._piece *= 2
        if len(last[0]):
            # Half a piece goes back to the rest, represented by its extremes.
            half = np.full(self._piece // 2, last[0][0], np.float32)
            half[-1] = last[1][0]
            self._rest = np.concatenate((half, self._rest))

    def curve(self, sample_rate: int) -> tuple[Any, Any, Any]:
        """Time in seconds of each piece, and its lowest and highest value."""
        lows, highs = list(self._lows), list(self._highs)
        if len(self._rest):
            lows.append(self._rest.min(keepdims=True))
            highs.append(self._rest.max(keepdims=True))
        if not lows:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        low, high = np.concatenate(lows), np.concatenate(highs)
        return np.arange(len(low)) * self._piece / sample_rate, low, high


class Meter:
    """Measures the level of a stream from its sent bytes, and with `envelope_points` keeps the envelopes."""

    def __init__(self, format: AudioFormat, envelope_points: int = 0) -> None:
        self._decoder = PcmDecoder(format.pcm_encoding, format.channels)
        self._channels = format.channels
        self._pending = bytearray()
        self._energy = np.zeros(format.channels)
        self._n_frames = 0
        self._levels_dbfs = [-math.inf] * format.channels
        self.envelopes = [Envelope(envelope_points) for _ in range(format.channels)] if envelope_points else []

    def take(self, data: memoryview) -> None:
        """Adds sent bytes, cut anywhere."""
        self._pending += data
        if len(self._pending) >= _DECODE_BYTES:
            self._decode()

    def _decode(self) -> None:
        planes = self._decoder.push(bytes(self._pending))
        self._pending.clear()
        self._energy += np.square(planes, dtype=np.float64).sum(axis=1)
        self._n_frames += planes.shape[1]
        for envelope, samples in zip(self.envelopes, planes, strict=False):
            envelope.push(samples)

    def levels_dbfs(self) -> list[float]:
        """The RMS level of each channel since the last call, unchanged without audio; 0 is a full-scale square wave."""
        self._decode()
        if self._n_frames:
            powers = self._energy / self._n_frames
            self._levels_dbfs = [10 * math.log10(power) if power > 0 else -math.inf for power in powers]
            self._energy[:] = 0.0
            self._n_frames = 0
        return self._levels_dbfs
