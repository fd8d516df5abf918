"""FLAC: every sample is libsndfile's, however the bytes are cut; of damage, the length is known."""

from __future__ import annotations

import copy
import io
import itertools
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
    silence = bytes(len(frames[1]))
    for damaged, heard in (
        (packets[1][:-1], silence),
        (packets[1] + b"\0", silence),
        (packets[1][:50] + b"\x55" + packets[1][51:], silence),
        (b"\xff\xf0" + packets[1][2:], None),
        (b"", None),
        (b"\xff", None),
    ):
        decoder = FlacDecoder()
        decoder.begin(data[8:42])
        assert [decoder.decode(packet) for packet in (packets[0], damaged, packets[2])] == [frames[0], heard, frames[2]]
        assert (decoder.error, decoder.gap) == (None, 0 if heard else len(frames[1]) // 2)
        assert decoder.n_damaged == 1
    n_packets = 0
    while decoder.error is None:
        assert decoder.decode(b"\xff" * 65_536) is None
        n_packets += 1
    assert (n_packets, decoder.error) == (64, ("broken", f"no valid FLAC frame after sample {decoder.pos}"))
    assert decoder.decode(packets[2]) is None
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
        (good[:at] + b"\xff\xfb" + bytes(5 << 20), "broken", "no valid FLAC frame after sample 0"),
        (good[:at] + good[at : at + 20] + b"\x55" * (5 << 20), "broken", "no valid FLAC frame after sample 0"),
        (good[:at] + b"\xff\xf8" + bytes(5 << 20), "broken", "no valid FLAC frame after sample 0"),
    ):
        for pieces in ([data], every(data, 10_000)):
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


def frame_ends(data: bytes) -> list[int]:
    """Where each frame ends, the head of the file first."""
    decoder = FlacDecoder()
    return [head_bytes(data), *(at + 1 for at in range(len(data)) if any(demux(decoder, [data[at : at + 1]])))]


def placed(decoder: FlacDecoder, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """Each frame, and how many samples are missing before it."""
    found = []
    for piece in [*pieces, None]:
        if piece is None:
            decoder.end()
        else:
            decoder.feed(piece)
        while (samples := decoder.read()) is not None:
            if samples:
                found.append((decoder.gap, samples))
    return found


def flipped(part: bytes, at: int) -> bytes:
    return part[:at] + bytes([part[at] ^ 0x10]) + part[at + 1 :]


@pytest.mark.parametrize("file", ["demo", "PCM_16 2", "PCM_24 5", "silence", "full scale", "ffmpeg left_side"])
def test_behind_a_damaged_frame_the_next_ones_are_decoded(file):
    data = files()[file]
    ends, frames = frame_ends(data), list(filter(None, demux(FlacDecoder(), [data])))
    parts = [data[begin:end] for begin, end in itertools.pairwise(ends)]
    width = {"PCM_24 5": 20, "PCM_16 2": 4, "ffmpeg left_side": 4}.get(file, 2)
    damages = {
        "sync": lambda part: flipped(part, 0),
        "head": lambda part: flipped(part, 4),
        "body": lambda part: flipped(part, len(part) // 2),
        "checksum": lambda part: flipped(part, len(part) - 1),
        "shorter": lambda part: part[: len(part) // 2],
        "longer": lambda part: part + b"\xff\xf8\xff" + bytes(30),
        "gone": lambda part: b"",
        "noise": lambda part: random.Random(0).randbytes(len(part)),
    }
    for kind, damage in damages.items():
        for lost in ([0], [1], [len(parts) // 2], [1, 2], [0, 2]):
            if lost[-1] >= len(parts) - 1:
                continue
            broken = data[: ends[0]] + b"".join(damage(part) if k in lost else part for k, part in enumerate(parts))
            wanted, gap = [], 0
            for k, frame in enumerate(frames):
                if k in lost:
                    gap += len(frame) // width
                else:
                    wanted.append((gap, frame))
                    gap = 0
            if kind == "longer":
                wanted = [(0, frame) for frame in frames]
            is_late = lost[0] == 0 and kind == "gone"  # no damage: the stream was joined later
            if is_late:
                wanted[0] = (0, wanted[0][1])
            for pieces in ([broken], every(broken, 977)):
                decoder = FlacDecoder()
                assert placed(decoder, pieces) == wanted, (kind, lost)
                assert (decoder.error, decoder.is_truncated) == (None, is_late), (kind, lost)


def test_a_damaged_frame_holds_nothing_back_but_the_head_of_the_next():
    """Silence takes a few bytes, and the longest frame of its kind thousands: seconds of it would wait for the end."""
    data = files()["silence"]
    ends = frame_ends(data)
    decoder = FlacDecoder()
    decoder.feed(data[: ends[1]] + flipped(data[ends[1] : ends[2]], 8) + data[ends[2] : ends[2] + 16])
    n_samples = [len(decoder.read() or b"") // 2 for _ in range(3)]
    assert n_samples == [4096, 4096, 0]
    assert (decoder.gap, decoder.n_damaged) == (4096, 1)


def test_damage_at_the_end():
    data = flac(noise(9000, 1))
    ends, frames = frame_ends(data), demux(FlacDecoder(), [data])
    for broken, n_whole, error in (
        (data[:-1], 2, None),
        (flipped(data, ends[2] + 30), 2, None),
        (flipped(data, ends[1] + 30)[:-1], 1, ("broken", "no valid FLAC frame after sample 4096")),
        (flipped(flipped(data, ends[1] + 30), ends[2] + 30), 1, ("broken", "no valid FLAC frame after sample 4096")),
    ):
        decoder = FlacDecoder()
        assert placed(decoder, [broken]) == [(0, frame) for frame in frames[:n_whole]]
        assert decoder.is_truncated
        assert decoder.error == error


def test_a_stream_that_never_resynchronises_is_bounded():
    """Heads of the longest frames, one in the other: each is checked as far as such a frame may go, and no further."""
    info = (65_535).to_bytes(2) * 2 + bytes(6) + (48_000 << 44 | 7 << 41 | 23 << 36).to_bytes(8) + bytes(16)
    head = b"\xff\xf8\x7a\x7c\0\xff\xfe"
    head += bytes([crc8(head)])
    decoder = FlacDecoder()
    n_bytes = n_empty = 0
    while decoder.error is None:
        decoder.feed(b"fLaC\x80\0\0\x22" + info if not n_bytes else head * 1000)
        while decoder.read() is not None:
            n_empty += 1
        n_bytes += 8000
    assert decoder.error == ("broken", "no valid FLAC frame after sample 0")
    assert n_bytes < 3 << 20
    assert n_empty <= 64  # others run every 64 KiB
    assert 4096 <= decoder.n_parts <= 4096 + 64 * 513  # and 64 tries to decode, where the CRC is 0 by chance


def crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


def test_no_changed_bit_of_a_file_makes_a_wrong_sample():
    data = flac(noise(9000, 2))
    frames = demux(FlacDecoder(), [data])
    rng = random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(head_bytes(data), len(data))] ^= 1 << rng.randrange(8)
        decoder = FlacDecoder()
        found = placed(decoder, [bytes(damaged)])
        assert [frame for _, frame in found] == [frame for frame in frames if frame in [one for _, one in found]]
        assert len(found) == len(frames) - 1
        assert sum(gap for gap, _ in found) + sum(len(frame) // 4 for _, frame in found) == decoder.pos
        assert decoder.pos == 9000 or decoder.is_truncated


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
