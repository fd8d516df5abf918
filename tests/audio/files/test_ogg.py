"""Ogg files, also of several streams."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile

from voxgate.audio.files import SoundFileError, open_sound_file
from voxgate.audio.files.ogg import find_links

RATE = 16_000


SAMPLES = np.random.default_rng(1).integers(-3000, 3000, 5 * RATE, dtype=np.int16)


def encoded(format: str, subtype: str | None = None, samples: Any = SAMPLES, endian: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=format, subtype=subtype, endian=endian)
    return file.getvalue()


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


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_every_stream_of_a_chained_ogg_is_read(opened: Callable[[bytes], Any], subtype: str) -> None:
    first, second = encoded("OGG", subtype, SAMPLES[:20_000]), encoded("OGG", subtype, SAMPLES[20_000:])
    want = [soundfile.read(io.BytesIO(content), dtype="float32")[0] for content in (first, second, first)]
    got, error = read(opened(first + second + first), "float32")
    assert error == ""
    assert np.array_equal(got, np.concatenate(want))


def test_a_chained_ogg_that_changes_its_format(opened: Callable[[bytes], Any]) -> None:
    stereo = encoded("OGG", samples=np.zeros((8000, 2)))
    samples, error = read(opened(encoded("OGG") + stereo))
    assert len(samples) == len(SAMPLES)
    assert error.endswith("readable up to 5.0 s: what follows has 2 channel(s) at 16000 Hz, not 1 at 16000 Hz")


def test_an_ogg_that_breaks_off_within_a_page(opened: Callable[[bytes], Any]) -> None:
    content = encoded("OGG")
    samples, error = read(opened(content[:-100]))
    assert 0 < len(samples) < len(SAMPLES)
    assert error.endswith(": it breaks off there")


def test_links_behind_garbage_are_found() -> None:
    content = encoded("OGG", samples=SAMPLES[:2000])
    garbage = bytes(100_000)
    links, is_complete = find_links(io.BytesIO(content + garbage + content), 0)
    assert links == [(0, len(content) + len(garbage)), (len(content) + len(garbage), len(content))]
    assert is_complete
