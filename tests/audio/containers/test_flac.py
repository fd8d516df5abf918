"""FLAC as a container: formats, pieces, a stream that breaks off."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from helpers.demuxing import decode, every
from helpers.flac_checksum import crc_8, crc_16
from voxgate.audio.containers.base import BrokenMedia, TruncatedMedia
from voxgate.audio.containers.flac import FlacContainer
from voxgate.protocol.formats import AudioFormat
from voxgate.recordings import path


@pytest.mark.parametrize("name", ["demo", "stereo", "telephone"])
def test_the_bundled_recordings(name):
    data = path(name).read_bytes()
    container = FlacContainer()
    pcm, error = decode(container, every(data, 1000))
    assert error is None
    samples, rate = soundfile.read(path(name), dtype="int16", always_2d=True)
    assert pcm == samples.tobytes()
    assert container.format == AudioFormat(samples.shape[1], rate, 16, False)
    container.close()


def test_24_bits_are_float():
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-1, 1, 5000), 16_000, "PCM_24", format="FLAC")
    container = FlacContainer()
    pcm, _ = decode(container, [file.getvalue()])
    file.seek(0)
    np.testing.assert_array_equal(np.frombuffer(pcm, np.float32), soundfile.read(file, dtype="float32")[0])
    assert container.format == AudioFormat(1, 16_000, 32, True)


def test_long_frames_come_in_pieces():
    file = io.BytesIO()
    soundfile.write(file, np.zeros((20_000, 8)), 4_000, format="FLAC")
    pieces = list(FlacContainer().push(file.getvalue()))
    assert max(map(len, pieces)) <= 4_000 // 8 * 16
    assert sum(map(len, pieces)) == 20_000 * 16


def test_a_stream_that_breaks_off_gives_what_it_had():
    data = path("telephone").read_bytes()
    whole, _ = decode(FlacContainer(), [data])
    pcm, error = decode(FlacContainer(), [data[: len(data) // 2]])
    assert isinstance(error, TruncatedMedia)
    assert whole.startswith(pcm)
    assert len(pcm) > len(whole) // 4
    for n_bytes in (0, 3, 20):
        assert isinstance(decode(FlacContainer(), [data[:n_bytes]])[1], TruncatedMedia)


def test_a_damaged_frame_is_silence_of_its_length():
    data = path("telephone").read_bytes()
    whole, _ = decode(FlacContainer(), [data])
    broken = bytearray(data)
    broken[len(data) // 2] ^= 1
    for pieces in ([bytes(broken)], every(bytes(broken), 1000)):
        pcm, error = decode(FlacContainer(), pieces)
        assert error is None
        heard, said = np.frombuffer(pcm, np.int16), np.frombuffer(whole, np.int16)
        assert len(heard) == len(said)
        (changed,) = np.nonzero(heard != said)
        frame = slice(changed[0] // 4096 * 4096, (changed[0] // 4096 + 1) * 4096)
        assert not heard[frame].any()
        assert set(changed // 4096) == {changed[0] // 4096}


def test_a_stream_that_never_resynchronises_ends_with_an_error():
    data = path("telephone").read_bytes()
    half = len(data) // 2
    whole, _ = decode(FlacContainer(), [data])
    pcm, error = decode(FlacContainer(), [data[:half], *[bytes(1 << 20)] * 5])
    assert isinstance(error, BrokenMedia)
    assert len(pcm) > len(whole) // 4
    assert whole.startswith(pcm)


def test_work_that_gives_no_audio_is_bounded():
    info = struct.pack(">HH6xQ16x", 4096, 4096, 16_000 << 44 | 15 << 36)
    data = b"fLaC\0\0\0\x22" + info + b"\1\0\0\0" * 500
    assert decode(FlacContainer(parts_per_s=51), [data])[1].code == "truncated_media"
    for pieces in ([data], every(data, 7)):
        error = decode(FlacContainer(parts_per_s=50), pieces)[1]
        assert (error.code, str(error)) == (
            "media_limit",
            "more than 50 parts for each second of audio (media.parts_per_s)",
        )


def test_a_stream_without_samples_has_a_format():
    info = struct.pack(">HH6xQ16x", 4096, 4096, 8_000 << 44 | 1 << 41 | 15 << 36)
    container = FlacContainer()
    assert decode(container, [b"fLaC\x80\0\0\x22" + info]) == (b"", None)
    assert container.format == AudioFormat(2, 8_000, 16, False)


def test_others_run_between_the_tries_to_decode_a_long_frame():
    """Where the CRC of a frame is 0 before its end, all of it is decoded in vain. Here it is so every 3 bytes."""
    n_tries, n_samples = 5, 20_000
    head = b"\xff\xf8\x75\x08\0" + struct.pack(">H", n_samples - 1)
    frame = head + crc_8(head) + b"\x02"  # one verbatim subframe
    tries = b""
    for _ in range(n_tries):
        tries += crc_16(frame + tries) + b"\1"
    frame += tries.ljust(2 * n_samples, b"\1")
    frame += crc_16(frame)
    info = struct.pack(">HH6xQ16x", n_samples, n_samples, 16_000 << 44 | 15 << 36)
    pieces = list(FlacContainer().push(b"fLaC\x80\0\0\x22" + info + frame))
    assert [len(piece) for piece in pieces] == [0] * n_tries + [32_000, 8_000]
