"""WAV files, finished, unfinished and from pipes."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.sound_files import RATE, SAMPLES, encoded, read
from voxgate.audio.files import open_sound_file

UNKNOWN = (0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


WAV = encoded("WAV", "PCM_16")


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"]
)
def test_wav_is_read_as_libsndfile_reads_it(opened: Callable[[bytes], Any], subtype: str, endian: str) -> None:
    stereo = np.stack([SAMPLES, SAMPLES[::-1]], axis=1) / 32_768
    content = encoded("WAV", subtype, stereo, endian)
    assert content[:4] == (b"RIFF" if endian == "LITTLE" else b"RIFX")
    for dtype in ("int16", "float32"):
        want, _ = soundfile.read(io.BytesIO(content), dtype=dtype, always_2d=True)
        got, error = read(opened(content), dtype)
        assert error == ""
        assert np.array_equal(got, want[:, 0])


def wav_claiming(riff_bytes: int, data_bytes: int) -> bytes:
    assert WAV[36:40] == b"data"
    return WAV[:4] + struct.pack("<I", riff_bytes) + WAV[8:40] + struct.pack("<I", data_bytes) + WAV[44:]


@pytest.mark.parametrize("data_bytes", UNKNOWN)
@pytest.mark.parametrize("riff_bytes", [0, 36, 0x7FFF_FFFF + 36, 0xFFFF_FFFF])
def test_a_wav_whose_recorder_was_killed_is_read_to_its_end(
    opened: Callable[[bytes], Any], riff_bytes: int, data_bytes: int
) -> None:
    content = wav_claiming(riff_bytes, data_bytes)
    source = opened(content)
    is_pipe = not isinstance(source, str) and not source.seekable()
    sound = open_sound_file(source)
    assert sound.duration_s == (None if is_pipe else 5.0)
    assert np.array_equal(np.concatenate(list(sound.blocks(4096, "int16")))[:, 0], SAMPLES)


@pytest.mark.parametrize("sizes", [b"\0" * 24, b"\xff" * 24])
def test_an_rf64_without_sizes_is_read_to_its_end(opened: Callable[[bytes], Any], sizes: bytes) -> None:
    content = encoded("RF64", "PCM_16")
    at = content.index(b"ds64") + 8
    samples, error = read(opened(content[:at] + sizes + content[at + 24 :]))
    assert error == ""
    assert np.array_equal(samples, SAMPLES)


def test_what_follows_the_samples_of_a_wav_is_no_audio(opened: Callable[[bytes], Any]) -> None:
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for n_bytes in (0, 2000):
        content = wav_claiming(36 + n_bytes + len(note), n_bytes)[: 44 + n_bytes] + note
        samples, error = read(opened(content))
        assert error == ""
        assert np.array_equal(samples, SAMPLES[: n_bytes // 2])


def test_a_wav_that_breaks_off(opened: Callable[[bytes], Any]) -> None:
    samples, error = read(opened(WAV[: 44 + 2 * 3 * RATE + 1]))
    assert np.array_equal(samples, SAMPLES[: 3 * RATE])
    assert "readable up to 3.0 s" in error
    assert error.endswith(": it breaks off there")


def test_a_wav_from_a_pipe_is_read_as_it_comes() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as pipe, open(writer, "wb", buffering=0) as out:
        out.write(WAV[:48])
        blocks = open_sound_file(pipe).blocks(4096, "int16")
        assert next(blocks)[:, 0].tolist() == SAMPLES[:2].tolist()
        out.write(WAV[48:51])
        assert next(blocks)[:, 0].tolist() == SAMPLES[2:3].tolist()
        out.write(WAV[51:52])
        assert next(blocks)[:, 0].tolist() == SAMPLES[3:4].tolist()
        blocks.close()
