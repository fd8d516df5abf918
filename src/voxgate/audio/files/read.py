"""Whole sound files."""

from __future__ import annotations

from os import PathLike
from typing import BinaryIO, Final

import numpy as np

from voxgate.audio.soxr import Planes

__all__ = ["read_audio"]

_BLOCK_FRAMES: Final = 65_536


def read_audio(source: str | PathLike[str] | BinaryIO) -> tuple[Planes, int]:
    """Read a whole file in any format libsndfile knows (WAV, FLAC, Ogg, MP3, ...): (planes, rate in Hz).

    ``source``: a path, or a binary file, which stays open; either may be a pipe. Raises OSError when a path cannot be
    opened, and ValueError when the content is not audio that is readable to its end.
    """
    from voxgate.audio.files import open_sound_file

    sound = open_sound_file(source)
    blocks = [np.empty((0, sound.channels), np.float32), *sound.blocks(_BLOCK_FRAMES, "float32")]
    return np.ascontiguousarray(np.concatenate(blocks).T), sound.sample_rate
