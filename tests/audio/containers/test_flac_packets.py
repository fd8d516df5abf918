"""FLAC in Ogg and Matroska."""

from __future__ import annotations

import io

import pytest

from helpers.demuxing import decode, demux
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
    head, first, *_ = demux(WebmDemuxer(), [written("matroska")])
    with pytest.raises(BrokenMedia, match="head of the FLAC"):
        FlacStream(head[2][:30])
    with pytest.raises(BrokenMedia, match="STREAMINFO"):
        FlacStream(head[2][:18] + bytes(24))
    with pytest.raises(BrokenMedia, match="damaged"):
        list(FlacStream(head[2]).take(first[1][:-1], 0, 0, 0, 0))
