"""Several channels become one."""

from __future__ import annotations

from typing import Final

import numpy as np

from voxgate._native.pcm import PcmDecoder
from voxgate.protocol.formats import AudioFormat

__all__ = ["Mixer"]


class Mixer:
    """Mixes PCM to one channel, the mean of all: whole frames in, the same number of f32 samples out. One caller at a
    time.
    """

    def __init__(self, format: AudioFormat) -> None:
        """`format`: of the PCM, supported."""
        self._decoder = PcmDecoder(format.pcm_encoding, format.channels)
        self.format: Final = AudioFormat(1, format.sample_rate, 32, True)
        """Of the result."""

    def mix(self, data: bytes) -> bytes:
        """`data`: whole frames."""
        mixed: np.ndarray = np.asarray(self._decoder.push(data)).mean(axis=0, dtype=np.float32)
        return mixed.tobytes()
