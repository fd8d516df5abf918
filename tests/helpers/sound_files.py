"""Sound files made for tests, and what a reader gets from them."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import soundfile

from voxgate.audio.files import SoundFileError, open_sound_file

RATE = 16_000
SAMPLES = np.random.default_rng(1).integers(-3000, 3000, 5 * RATE, dtype=np.int16)


def encoded(format: str, subtype: str | None = None, samples: Any = SAMPLES, endian: str | None = None) -> bytes:
    """The bytes of a file of these samples."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format, subtype=subtype, endian=endian)
    return file.getvalue()


def read(source: str | BinaryIO, dtype: str = "int16", n_frames: int = 4096) -> tuple[np.ndarray, str]:
    """The samples of the first channel, and what went wrong after them."""
    sound = open_sound_file(source)
    blocks, error = [np.empty((0, sound.channels), dtype)], ""
    try:
        for block in sound.blocks(n_frames, dtype):
            assert 1 <= len(block) <= n_frames
            blocks.append(block)
    except SoundFileError as failure:
        error = str(failure)
    return np.concatenate(blocks)[:, 0], error
