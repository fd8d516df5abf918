"""Audio as the bytes of a WAV file."""

from __future__ import annotations

import struct

import numpy as np

from voxgate.models.base import Samples

__all__ = ["wav"]


def wav(audio: Samples, sample_rate: int) -> bytes:
    """A WAV file, 16-bit PCM of one channel. audio: float32, shape (samples,), clipped to -1..1. sample_rate: Hz."""
    pcm: bytes = np.clip(np.rint(audio * 32768.0), -32768, 32767).astype("<i2").tobytes()
    riff = struct.pack("<4sI4s", b"RIFF", 36 + len(pcm), b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", len(pcm)) + pcm
