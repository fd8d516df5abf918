"""WAV as it arrives: all encodings, all ways to write a header, cut anywhere."""

from __future__ import annotations

import io
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers.demuxing import cut, decode, every
from voxgate.audio.containers.base import BrokenMedia, MediaLimit, TruncatedMedia, UnsupportedMedia
from voxgate.audio.containers.wav import MAX_HEADER_BYTES, WavContainer
from voxgate.audio.decoder import StreamDecoder
from voxgate.protocol.formats import AudioFormat

SAMPLES = np.arange(1, 41, dtype="<i2")
S16 = AudioFormat(2, 8_000, 16, False)


def chunk(name: bytes, body: bytes, n_bytes: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if n_bytes is None else n_bytes) + body + bytes(len(body) % 2)


def fmt(tag: int = 1, channels: int = 2, rate: int = 8_000, bits: int = 16, more: bytes = b"") -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + more)


def wav(*chunks: bytes, magic: bytes = b"RIFF", n_bytes: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if n_bytes is None else n_bytes) + body


def data(n_bytes: int | None = None) -> bytes:
    return chunk(b"data", SAMPLES.tobytes(), n_bytes)


EXTENSIBLE = struct.pack("<HHI", 22, 16, 3) + b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
GOOD = {
    "plain": wav(fmt(), data()),
    "extensible": wav(fmt(0xFFFE, more=EXTENSIBLE), data()),
    "sizes of 0": wav(fmt(), data(0), n_bytes=0),
    "sizes of -1": wav(fmt(), data(0xFFFF_FFFF), n_bytes=0xFFFF_FFFF),
    "SoX": wav(fmt(), data(0x7FFF_F000), n_bytes=0x7FFF_F024),
    "LIST before data": wav(fmt(), chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0"), data()),
    "an odd chunk": wav(chunk(b"odd ", b"123"), fmt(), chunk(b"odd ", b"1"), data()),
    "a long chunk": wav(fmt(), chunk(b"id3 ", bytes(200_001)), data()),
    "tags behind": wav(fmt(), data(), chunk(b"LIST", b"INFO")),
    "RF64": wav(chunk(b"ds64", struct.pack("<QQQI", 0, 80, 20, 0)), fmt(), data(0xFFFF_FFFF), magic=b"RF64"),
    "BW64": wav(chunk(b"ds64", struct.pack("<QQQI", 0, 0, 0, 0)), fmt(), data(0xFFFF_FFFF), magic=b"BW64"),
}


@pytest.mark.parametrize("name", GOOD)
def test_headers(name):
    for pieces in ([GOOD[name]], every(GOOD[name], 1 if len(GOOD[name]) < 1000 else 999)):
        container = WavContainer()
        pcm, error = decode(container, pieces)
        assert error is None
        assert pcm == SAMPLES.tobytes()
        assert container.format == S16


@given(st.sampled_from([name for name in GOOD if len(GOOD[name]) < 1000]), st.lists(st.integers(0, 200), max_size=12))
def test_cuts_change_nothing(name, places):
    assert decode(WavContainer(), cut(GOOD[name], places)) == (SAMPLES.tobytes(), None)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_encodings_are_those_of_libsndfile(subtype, endian):
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-0.9, 0.9, 600).reshape(-1, 3), 11_025, subtype, endian, "WAV")
    container = WavContainer()
    pcm, error = decode(container, every(file.getvalue(), 77))
    assert error is None
    assert container.format is not None
    assert (container.format.channels, container.format.sample_rate) == (3, 11_025)
    file.seek(0)
    expected = soundfile.read(file, dtype="float32")[0].T
    np.testing.assert_allclose(StreamDecoder(container.format, 11_025).push(pcm), expected, atol=1e-6)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"])
def test_other_codecs_are_named(subtype):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000), 8_000, subtype, format="WAV")
    _, error = decode(WavContainer(), [file.getvalue()])
    assert isinstance(error, UnsupportedMedia)
    assert any(name in str(error) for name in ("ADPCM", "GSM 6.10", "G.721"))
    _, error = decode(WavContainer(), [wav(fmt(0x1234), data())])
    assert "codec 0x1234" in str(error)


def test_samples_flow_as_they_come():
    head, container = GOOD["sizes of 0"][:44], WavContainer()
    assert list(container.push(head)) == []
    for at in range(0, 80, 5):
        n_whole = [n // 4 * 4 for n in (at, at + 5)]
        assert b"".join(container.push(SAMPLES.tobytes()[at : at + 5])) == SAMPLES.tobytes()[slice(*n_whole)]


def test_pieces_are_at_most_a_second():
    container = WavContainer()
    pieces = list(container.push(wav(fmt(rate=8_000), chunk(b"data", bytes(4 * 8_000 * 3), 0), n_bytes=0)))
    assert {len(piece) for piece in pieces} == {4 * 4_000}


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        (b"RIFF1234AVI ", BrokenMedia, "holds no WAVE"),
        (wav(data()), BrokenMedia, "without a format"),
        (wav(chunk(b"fmt ", b"123"), data()), BrokenMedia, "too short"),
        (wav(fmt(channels=0), data()), BrokenMedia, "0 channels"),
        (wav(fmt(rate=0), data()), BrokenMedia, "0 Hz"),
        (wav(fmt(bits=4), data()), BrokenMedia, "frames of"),
        (wav(chunk(b"JUNK", bytes(100), MAX_HEADER_BYTES + 1)) + bytes(MAX_HEADER_BYTES), MediaLimit, "16 MiB"),
        (b"", TruncatedMedia, "before its first sample"),
        (GOOD["plain"][:43], TruncatedMedia, "before its first sample"),
        (GOOD["plain"][:-1], TruncatedMedia, "1 bytes before the end"),
        (GOOD["sizes of 0"][:-1], TruncatedMedia, "inside of a sample"),
        (wav(fmt(), data(10 * 3600 * 32_000)), TruncatedMedia, "before the end that its header gives"),
    ],
)
def test_errors(bad, error, text):
    for pieces in ([bad], every(bad, 1 if len(bad) < 1000 else 100_000)):
        pcm, found = decode(WavContainer(), pieces)
        assert type(found) is error
        assert text in str(found)
        assert SAMPLES.tobytes().startswith(pcm)


def test_close_may_be_called_at_any_time():
    container = WavContainer()
    container.close()
    container.close()


def test_the_law_of_cuts_at_every_place():
    for name in ("plain", "an odd chunk"):
        whole = GOOD[name]
        for at, after in pairwise(range(len(whole))):
            assert decode(WavContainer(), cut(whole, [at, after])) == (SAMPLES.tobytes(), None)


def test_the_chunks_before_the_samples_are_bounded():
    data = b"RIFF\xff\xff\xff\xffWAVE" + (b"JUNK" + bytes(4)) * 1999
    for pieces in ([data], every(data, 100)):
        assert isinstance(decode(WavContainer(200), pieces)[1], TruncatedMedia)
        error = decode(WavContainer(199), pieces)[1]
        assert isinstance(error, MediaLimit)
        assert str(error) == "more than 199 parts for each second of audio (media.parts_per_s)"
