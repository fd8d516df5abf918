"""The head of an Opus stream."""

from __future__ import annotations

import struct

import pytest

from helpers.matroska import opus_head
from voxgate.audio.containers.base import BrokenMedia, UnsupportedMedia
from voxgate.audio.containers.opus_head import OpusHead, parse_opus_head


def head(channels: int, family: int, table: bytes = b"", gain: int = 0, version: int = 1) -> bytes:
    return struct.pack("<8sBBHIhB", b"OpusHead", version, channels, 312, 48_000, gain, family) + table


def test_mono_and_stereo():
    assert parse_opus_head(opus_head()) == OpusHead(1, 312)
    assert parse_opus_head(opus_head(2, 0)) == OpusHead(2, 0, 1.0, 1, 1, (0, 1))
    assert parse_opus_head(head(1, 0, gain=-6 * 256)).gain == pytest.approx(0.501, abs=1e-3)
    assert parse_opus_head(head(2, 1, bytes([1, 1, 0, 1]))).is_simple
    assert not parse_opus_head(head(2, 1, bytes([2, 0, 0, 1]))).is_simple


def test_surround_is_in_the_order_of_wav():
    # Vorbis: left, centre, right, back left, back right, LFE; WAV: left, right, centre, LFE, back left, back right
    assert parse_opus_head(head(6, 1, bytes([4, 2, 0, 4, 1, 2, 3, 5]))).wav_mapping == (0, 1, 4, 5, 2, 3)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"OpusHead", BrokenMedia),
        (b"OpusHeat" + opus_head()[8:], BrokenMedia),
        (head(1, 0, version=16), BrokenMedia),
        (head(3, 0), BrokenMedia),
        (head(0, 0), BrokenMedia),
        (head(6, 1), BrokenMedia),
        (head(9, 1, bytes(20)), BrokenMedia),
        (head(2, 1, bytes([0, 0, 0, 1])), BrokenMedia),
        (head(2, 1, bytes([1, 2, 0, 1])), BrokenMedia),
        (head(2, 1, bytes([1, 1, 0, 2])), BrokenMedia),
        (head(4, 2, bytes(20)), UnsupportedMedia),
        (head(4, 255, bytes(20)), UnsupportedMedia),
    ],
)
def test_what_is_no_head(data, error):
    with pytest.raises(error):
        parse_opus_head(data)
