"""Sound files of every format, whole and damaged, from disks and pipes."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sound_files import RATE, SAMPLES, encoded, read
from voxgate.audio.files import SoundFileError, open_sound_file

WAV = encoded("WAV", "PCM_16")


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"])
def test_lossless_containers(opened: Callable[[bytes], Any], format: str) -> None:
    samples, error = read(opened(encoded(format, "PCM_16")))
    assert error == ""
    assert np.array_equal(samples, SAMPLES)


@pytest.mark.parametrize("format", ["OGG", "MP3"])
def test_lossy_containers(opened: Callable[[bytes], Any], format: str) -> None:
    content = encoded(format)
    want, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    got, error = read(opened(content), "float32")
    assert error == ""
    assert len(got) == len(SAMPLES)
    np.testing.assert_allclose(got, want, atol=1e-7)  # what mpg123 rounds depends on where it is cut


def test_a_flac_that_breaks_off_gives_every_whole_frame(opened: Callable[[bytes], Any]) -> None:
    content = encoded("FLAC")
    samples, error = read(opened(content[: len(content) * 6 // 10]), n_frames=65_536)
    assert len(samples) == 11 * 4096  # frames of libFLAC
    assert np.array_equal(samples, SAMPLES[: len(samples)])
    assert "readable up to 2.8 s of 5.0 s: " in error


@pytest.mark.parametrize("total", [0, 1, len(SAMPLES) // 2, 2 * len(SAMPLES), 2**36 - 1])
def test_what_a_flac_claims_is_not_believed(opened: Callable[[bytes], Any], total: int) -> None:
    content = bytearray(encoded("FLAC"))
    fields = int.from_bytes(content[18:26], "big")
    assert fields % 2**36 == len(SAMPLES)
    content[18:26] = (fields >> 36 << 36 | total).to_bytes(8, "big")
    samples, error = read(opened(bytes(content)))
    assert np.array_equal(samples, SAMPLES)
    assert ("it breaks off" in error) == (total == 2 * len(SAMPLES))


def test_an_mp3_that_breaks_off(opened: Callable[[bytes], Any]) -> None:
    content = encoded("MP3")
    samples, error = read(opened(content[: len(content) // 2]), "float32")
    assert 0 < len(samples) < len(SAMPLES)
    assert error.endswith(" of 5.0 s: it breaks off there")


def test_an_mp3_that_does_not_say_how_long_it_is_never_ends_early_in_silence() -> None:
    content = encoded("MP3", samples=np.tile(SAMPLES, 12))
    tagged_at = content.index(b"Xing")
    untagged = content[content.index(content[:2], tagged_at) :]
    assert open_sound_file(io.BytesIO(untagged)).duration_s is None
    samples, error = read(io.BytesIO(untagged), "float32")
    text = "more follows, but its header does not say how much: convert it first"
    assert len(samples) > 59 * RATE or error.endswith(text)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all", WAV[:40], b"OggS", b"fLaC" + bytes(60)])
def test_what_is_no_sound(opened: Callable[[bytes], Any], content: bytes) -> None:
    with pytest.raises(SoundFileError, match="not an audio file that can be read: "):
        open_sound_file(opened(content))


@pytest.mark.parametrize(("channels", "rate"), [(0, RATE), (257, RATE), (65_535, RATE), (1, 0), (1, 2**32 - 1)])
def test_a_header_beyond_all_bounds(channels: int, rate: int) -> None:
    fields = struct.pack("<HHIIHH", 1, channels, rate, 0, 2 * channels % 65_536, 16)
    with pytest.raises(SoundFileError):
        open_sound_file(io.BytesIO(WAV[:20] + fields + WAV[36:]))


def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    for content in (WAV, encoded("FLAC"), encoded("AIFF", "PCM_16")):
        path = os.fsencode(tmp_path) + b"/s\xff"
        with open(path, "wb") as file:
            file.write(content)
        assert np.array_equal(read(os.fsdecode(path))[0], SAMPLES)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([WAV[:2000], encoded("FLAC")[:4000], encoded("OGG")[:6000]]), st.data())
def test_no_damage_does_anything_else_than_say_so(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    try:
        sound = open_sound_file(io.BytesIO(damaged[:end]))
        n_read = sum(len(block) for block in sound.blocks(4096, "int16"))
    except SoundFileError:
        return
    assert n_read <= len(damaged) * 65_536
