"""Sound files as recorders, pipes and bad disks leave them."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgate.audio.files import SoundFileError, container_of, may_become_container, open_sound_file
from voxgate.audio.files.ogg import find_links
from voxgate.audio.files.window import Window

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


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"])
def test_lossless_containers(opened: Callable[[bytes], Any], format: str) -> None:
    samples, error = read(opened(encoded(format, "PCM_16")))
    assert error == ""
    assert np.array_equal(samples, SAMPLES)


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


@pytest.mark.parametrize("format", ["OGG", "MP3"])
def test_lossy_containers(opened: Callable[[bytes], Any], format: str) -> None:
    content = encoded(format)
    want, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    got, error = read(opened(content), "float32")
    assert error == ""
    assert len(got) == len(SAMPLES)
    np.testing.assert_allclose(got, want, atol=1e-7)  # what mpg123 rounds depends on where it is cut


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


@given(st.binary(max_size=12))
def test_a_head_that_is_too_short_to_tell(head: bytes) -> None:
    if may_become_container(head):
        assert container_of(head) is None
    assert may_become_container(b"RIFF"[: len(head) % 4])


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.binary(max_size=9))
def test_a_window_is_a_slice(content: bytes, start: int, length: int, at: int, patch: bytes) -> None:
    start, length = min(start, len(content)), min(length, max(0, len(content) - start))
    window = Window(io.BytesIO(content), start, length, (at, patch))
    want = bytearray(content[start : start + length])
    for i, byte in enumerate(patch):
        if at + i < length:
            want[at + i] = byte
    for begin in (0, at):
        window.seek(begin)
        assert b"".join(iter(lambda: window.read(3), b"")) == want[begin:]


def test_links_behind_garbage_are_found() -> None:
    content = encoded("OGG", samples=SAMPLES[:2000])
    garbage = bytes(100_000)
    links, is_complete = find_links(io.BytesIO(content + garbage + content), 0)
    assert links == [(0, len(content) + len(garbage)), (len(content) + len(garbage), len(content))]
    assert is_complete
