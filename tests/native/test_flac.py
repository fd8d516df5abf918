"""FLAC: every sample is libsndfile's, however the bytes are cut; damage is an error."""

from __future__ import annotations

import copy
import io
import pickle
import random
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers.demuxing import cut, demux, every
from voxgate._native.flac import FlacDecoder
from voxgate.recordings import names, path


def flac(samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16", level: float = 0.6) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format="FLAC", compression_level=level)
    return file.getvalue()


def by_ffmpeg(samples: np.ndarray, rate: int, layout: str, **options: str) -> bytes:
    """FFmpeg's encoder uses more of the format: long blocks, other predictors, all ways of stereo."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=rate, layout=layout, options=options)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T.reshape(1, -1, order="F")), "s16", layout)
        frame.sample_rate = rate
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def noise(n_frames: int, channels: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.normal(0, 0.01, (n_frames, 1)), axis=0)
    return np.clip(level * (0.8 * np.sin(common) + 0.2 * rng.uniform(-1, 1, (n_frames, channels))), -1, 1)


@cache
def files() -> dict[str, bytes]:
    found = {name: path(name).read_bytes() for name in names()}
    for subtype in ("PCM_S8", "PCM_16", "PCM_24"):
        for channels in (1, 2, 5, 8):
            found[f"{subtype} {channels}"] = flac(noise(9000, channels), 48_000, subtype)
    for level in (0.0, 1.0):
        found[f"level {level}"] = flac(noise(9000, 2), 44_100, level=level)
    found["silence"] = flac(np.zeros(30_000))
    found["full scale"] = flac(np.random.default_rng(0).choice([-1.0, 1.0], 20_000))
    found["white noise"] = flac(np.random.default_rng(0).uniform(-1, 1, 20_000))  # verbatim
    found["wasted bits"] = flac(np.round(noise(9000, 2) * 100) / 128)
    found["odd rate"] = flac(noise(9000, 1), 12_345)
    found["one sample"] = flac(np.array([0.5]))
    ints = (noise(40_000, 2) * 32_767).astype(np.int16)
    for mode in ("indep", "left_side", "right_side", "mid_side"):
        found[f"ffmpeg {mode}"] = by_ffmpeg(ints, 96_000, "stereo", ch_mode=mode, compression_level="8")
    found["ffmpeg long"] = by_ffmpeg(ints[:, :1], 16_000, "mono", compression_level="12", lpc_type="cholesky")
    return found


def expected(data: bytes) -> bytes:
    info = soundfile.info(io.BytesIO(data))
    return soundfile.read(io.BytesIO(data), dtype="float32" if info.subtype == "PCM_24" else "int16")[0].tobytes()


@pytest.mark.parametrize("name", files())
def test_samples_are_those_of_libsndfile(name):
    data, decoder = files()[name], FlacDecoder()
    frames = demux(decoder, [data])
    assert decoder.error is None
    assert b"".join(frames) == expected(data)
    info = soundfile.info(io.BytesIO(data))
    assert (decoder.rate, decoder.channels, decoder.pos) == (info.samplerate, info.channels, info.frames)
    assert not decoder.is_truncated
    assert demux(FlacDecoder(), every(data, 501)) == frames


def test_a_frame_is_decoded_when_its_last_byte_is_there():
    data = files()["telephone"]
    decoder, n_bytes = FlacDecoder(), []
    for at in range(len(data)):
        if demux(decoder, [data[at : at + 1]]):
            n_bytes.append(at + 1)
    assert n_bytes[-1] == len(data)
    frames = demux(FlacDecoder(), [data])
    assert len(frames) == len(n_bytes)
    assert demux(FlacDecoder(), cut(data, n_bytes)) == frames


@given(st.lists(st.integers(0, 12_000), max_size=30))
def test_cuts_change_nothing(places):
    data = files()["PCM_16 2"]
    assert b"".join(demux(FlacDecoder(), cut(data, places))) == expected(data)


def head_bytes(data: bytes) -> int:
    """Where the first frame begins."""
    at, is_last = 4, False
    while not is_last:
        is_last = data[at] >= 128
        at += 4 + int.from_bytes(data[at + 1 : at + 4])
    return at


def test_frames_from_another_container():
    data = files()["PCM_16 1"]
    frames = demux(FlacDecoder(), [data])
    ends, decoder = [], FlacDecoder()
    for at in range(len(data)):
        if demux(decoder, [data[at : at + 1]]):
            ends.append(at + 1)
    packets = [data[begin:end] for begin, end in zip([head_bytes(data), *ends[:-1]], ends, strict=True)]
    decoder = FlacDecoder()
    with pytest.raises(RuntimeError, match="begin"):
        decoder.decode(packets[0])
    decoder.begin(data[8:42])
    assert [decoder.decode(packet) for packet in packets] == frames
    decoder = FlacDecoder()
    decoder.begin(data[8:42])
    assert decoder.decode(packets[0]) == frames[0]
    assert decoder.decode(packets[2]) == frames[2]  # one is lost
    assert decoder.gap == len(frames[1]) // 2
    for damaged in (packets[1][:-1], packets[1] + b"\0", b"", b"\xff", packets[1][:50] + b"\x55" + packets[1][51:]):
        decoder = FlacDecoder()
        decoder.begin(data[8:42])
        assert decoder.decode(damaged) is None
        assert decoder.error[0] == "broken"
        assert decoder.decode(packets[1]) is None
    with pytest.raises(ValueError, match="34 bytes"):
        decoder.begin(b"")


def test_tags_before_and_behind():
    data = files()["PCM_16 1"]
    tagged = b"ID3\4\0\0\0\0\2\0" + bytes(256) + data + b"TAG" + bytes(125)
    decoder = FlacDecoder()
    assert b"".join(demux(decoder, every(tagged, 1))) == expected(data)
    assert not decoder.is_truncated
    pictured = data[:42] + b"\6\0\1\0" + bytes(256) + b"\1\0\0\0" + data[42:]
    assert b"".join(demux(FlacDecoder(), [pictured])) == expected(data)


def test_a_stream_that_does_not_know_its_length():
    data = bytearray(files()["PCM_16 1"])
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    decoder = FlacDecoder()
    assert b"".join(demux(decoder, [bytes(data)])) == expected(files()["PCM_16 1"])
    assert not decoder.is_truncated
    demux(decoder, [b"\xff\xf8"])
    assert decoder.is_truncated


def test_a_stream_that_announces_ten_hours():
    data = bytearray(files()["PCM_16 1"])
    data[22:26] = (36_000 * 16_000).to_bytes(4)
    decoder = FlacDecoder()
    assert b"".join(demux(decoder, [bytes(data)])) == expected(files()["PCM_16 1"])
    assert decoder.is_truncated


def test_errors():
    good = files()["PCM_16 1"]
    at = head_bytes(good)
    for data, kind, text in (
        (b"RIFF", "broken", "begins with fLaC"),
        (b"fLaC\4\0\0\4", "broken", "valid STREAMINFO"),
        (b"fLaC\0\0\0\x23", "broken", "valid STREAMINFO"),
        (good[:42] + good[4:42], "broken", "valid STREAMINFO"),
        (good[:42] + b"\x7f\0\0\1", "broken", "valid STREAMINFO"),
        (good[:18] + bytes(2) + good[20:], "broken", "valid STREAMINFO"),
        (good[:42] + b"\1\0\0\0" * 2000, "limit", "blocks of metadata"),
        (good[:20] + b"\x01\xf0" + good[22:], "unsupported", "32 bits per sample"),
        (good[:at] + b"\xff\xfb" + good[at + 2 :], "broken", f"no FLAC frame at byte {at}"),
        (good[:at] + good[at : at + 60] + b"\x55" + good[at + 61 :], "broken", f"frame at byte {at} is damaged"),
        (good[:at] + b"\xff\xf8" + bytes(200_000), "broken", "FLAC frame at byte"),
    ):
        for pieces in ([data], every(data, 100)):
            decoder = FlacDecoder()
            demux(decoder, pieces)
            assert decoder.error is not None, (text, data[:60])
            assert (decoder.error[0], text in decoder.error[1]) == (kind, True), decoder.error


def test_a_format_that_changes_is_refused():
    one, two = files()["PCM_16 1"], files()["PCM_16 2"]
    total_unknown = one[:21] + bytes([one[21] & 0xF0]) + bytes(4) + one[26:]
    decoder = FlacDecoder()
    demux(decoder, [total_unknown + two[head_bytes(two) :]])
    assert decoder.error[0] == "unsupported"
    assert "format changes" in decoder.error[1]


def test_every_bit_of_a_file_that_is_changed_is_noticed():
    data = flac(noise(3000, 2))
    truth = expected(data)
    rng = random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(head_bytes(data), len(data))] ^= 1 << rng.randrange(8)
        decoder = FlacDecoder()
        frames = [frame for frame in demux(decoder, [bytes(damaged)]) if isinstance(frame, bytes)]
        assert truth.startswith(b"".join(frames))
        assert decoder.error is not None or decoder.is_truncated


def test_read_must_be_exhausted():
    decoder = FlacDecoder()
    decoder.feed(files()["PCM_16 1"])
    decoder.read()
    with pytest.raises(ValueError, match="until it returns None"):
        decoder.feed(b"")


def test_it_belongs_to_one_stream():
    for copied in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match="one stream"):
            copied(FlacDecoder())
