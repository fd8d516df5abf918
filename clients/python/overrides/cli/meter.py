"""The level of the sent audio, in plain Python: of s16 and f32, which files and microphones are."""

from __future__ import annotations

import math
import sys
from array import array

from voxgate.protocol.formats import AudioFormat

__all__ = ["Meter"]

_CODES = {"s16": ("h", 32_768.0), "f32": ("f", 1.0)}


class Meter:
    """Measures the level of a stream from its sent bytes. Other encodings have no level."""

    def __init__(self, format: AudioFormat, envelope_points: int = 0) -> None:
        self._code, self._scale = _CODES.get(format.pcm_encoding, ("", 1.0))
        self._channels = format.channels
        self._frame_bytes = format.frame_bytes
        self._pending = bytearray()
        self._levels_dbfs = [-math.inf] * format.channels if self._code else []
        self.envelopes: list[object] = []

    def take(self, data: memoryview) -> None:
        """Adds sent bytes, cut anywhere."""
        if self._code:
            self._pending += data

    def levels_dbfs(self) -> list[float]:
        """The RMS level of each channel since the last call, unchanged without audio; 0 is a full-scale square wave."""
        whole = len(self._pending) // self._frame_bytes * self._frame_bytes
        if self._code and whole:
            samples = array(self._code)
            samples.frombytes(bytes(self._pending[:whole]))
            del self._pending[:whole]
            if sys.byteorder == "big":
                samples.byteswap()
            for channel in range(self._channels):
                values = samples[channel :: self._channels]
                power = math.sumprod(values, values) if hasattr(math, "sumprod") else sum(one * one for one in values)
                power /= len(values) * self._scale**2
                self._levels_dbfs[channel] = 10 * math.log10(power) if power > 0 else -math.inf
        return self._levels_dbfs
