"""Whole sound files."""

import io
import os

import numpy as np
import pytest
import soundfile

from voxgate.audio.files.read import read_audio


def sound(n_frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Interleaved s16, shape (frames, channels)."""
    return np.random.default_rng(seed).integers(-20_000, 20_000, (n_frames, channels)).astype("<i2")


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
@pytest.mark.parametrize("channels", [1, 2])
def test_read_audio(tmp_path, kind, channels):
    frames = sound(1_000, channels, seed=9)
    path = tmp_path / f"sound.{kind.lower()}"
    soundfile.write(path, frames, 22_050, format=kind, subtype="PCM_16")
    want = (frames.T / 32768).astype(np.float32)
    for source in (path, os.fspath(path), io.BytesIO(path.read_bytes())):
        planes, rate = read_audio(source)
        assert rate == 22_050
        assert planes.dtype == np.float32
        assert planes.flags.c_contiguous
        np.testing.assert_array_equal(planes, want)
    with path.open("rb") as file:
        read_audio(file)
        assert not file.closed


def test_read_audio_refuses(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(IsADirectoryError):
        read_audio(tmp_path)
    for name, content in (("text.wav", b"this is no sound"), ("empty.flac", b""), ("sound.raw", b"\0\1" * 100)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not an audio file that can be read"):
            read_audio(path)
    with pytest.raises(ValueError, match="the file: not an audio file"):
        read_audio(io.BytesIO(b"RIFF"))
