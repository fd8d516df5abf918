"""FLAC in Ogg and Matroska."""

from __future__ import annotations

import io

import pytest

from helpers.demuxing import decode, demux, every
from helpers.media import RATE, SPEECH
from voxgate._native.webm import WebmDemuxer
from voxgate.audio.containers.base import BrokenMedia
from voxgate.audio.containers.flac_packets import FlacStream
from voxgate.audio.containers.ogg import OggContainer
from voxgate.audio.containers.webm import WebmContainer

INTS = (SPEECH[:1, : 2 * RATE] * 32_768).round().astype("<i2")


def written(format: str) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=format) as out:
        stream = out.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(INTS, "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(("format", "container"), [("ogg", OggContainer), ("matroska", WebmContainer)])
def test_samples_are_exact(format, container):
    assert decode(container(16_000), [written(format)]) == (INTS.tobytes(), None)


def test_lost_frames_are_silence():
    head, *packets = demux(WebmDemuxer(), [written("matroska")])
    stream = FlacStream(head[2])
    samples = [len(b"".join(stream.take(*event[1:2], 0, 0, 0, 0))) // 2 for event in packets[:1]]
    parts = list(stream.take(packets[3][1], 0, 0, 0, 0))
    n_frame = samples[0]
    pcm = b"".join(parts)
    assert pcm[: 4 * n_frame] == bytes(4 * n_frame)
    assert pcm[4 * n_frame :] == INTS[0, 3 * n_frame : 4 * n_frame].tobytes()
    assert max(map(len, parts)) <= max(2 * n_frame, RATE // 4)


def test_damage():
    head, *_ = demux(WebmDemuxer(), [written("matroska")])
    with pytest.raises(BrokenMedia, match="head of the FLAC"):
        FlacStream(head[2][:30])
    with pytest.raises(BrokenMedia, match="STREAMINFO"):
        FlacStream(head[2][:18] + bytes(24))


@pytest.mark.parametrize("place", [0, 4, 60], ids=["sync", "head", "samples"])
@pytest.mark.parametrize("k", [0, 2, -1])
def test_a_damaged_frame_is_silence_of_its_length(k, place):
    data = bytearray(written("matroska"))
    head, *packets = demux(WebmDemuxer(), [bytes(data)])
    stream = FlacStream(head[2])
    lengths = [len(b"".join(stream.take(packet[1], 0, 0, 0, 0))) for packet in packets]
    data[data.index(packets[k][1]) + place] ^= 1
    pcm, error = decode(WebmContainer(16_000), every(bytes(data), 999))
    assert error is None
    begin = sum(lengths[: len(lengths) + k if k < 0 else k])
    end = begin + lengths[k]
    wanted = INTS.tobytes()[:begin] + bytes(lengths[k]) + INTS.tobytes()[end:]
    assert pcm == (wanted[:begin] if k == -1 and place < 60 else wanted)  # nothing says how long the last one was


def test_packets_that_are_never_valid_again_are_an_error():
    head, first, *_ = demux(WebmDemuxer(), [written("matroska")])
    stream = FlacStream(head[2])
    assert b"".join(stream.take(first[1], 0, 0, 0, 0))
    for _ in range(63):
        assert list(stream.take(bytes(65_536), 0, 0, 0, 0)) == [b""]
    with pytest.raises(BrokenMedia, match="no valid FLAC frame after sample"):
        list(stream.take(bytes(65_536), 0, 0, 0, 0))
