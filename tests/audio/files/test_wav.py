"""WAV files, finished, unfinished and from pipes."""

from __future__ import annotations

import io
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile

from voxgate.audio.files import SoundFileError, open_sound_file

RATE = 16_000


SAMPLES = np.random.default_rng(1).integers(-3000, 3000, 5 * RATE, dtype=np.int16)


UNKNOWN = (0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def encoded(format: str, subtype: str | None = None, samples: Any = SAMPLES, endian: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format, subtype=subtype, endian=endian)
    return file.getvalue()


WAV = encoded("WAV", "PCM_16")


@pytest.fixture(params=["file", "memory", "pipe"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[bytes], str | BinaryIO]]:
    """A source that holds these bytes."""
    writers = []
    readers = []

    def open_as(content: bytes) -> str | BinaryIO:
        if request.param == "memory":
            return io.BytesIO(content)
        if request.param == "file":
            (tmp_path / "sound").write_bytes(content)
            return str(tmp_path / "sound")
        reader, writer = os.pipe()

        def write() -> None:
            with open(writer, "wb") as pipe:
                pipe.write(content)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        readers.append(open(reader, "rb", buffering=0))  # noqa: SIM115
        return readers[-1]

    yield open_as
    for reader in readers:
        while reader.read(65_536):  # or its writer waits
            pass
        reader.close()
    for writer in writers:
        writer.join()


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
