"""FFmpeg reads the stream of its client, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest

from helpers.media import RATE, SPEECH, speech
from voxgate.audio.containers import BrokenMedia, UnsupportedMedia
from voxgate.audio.containers.av_decoder import AUDIO_CODECS, DEMUXERS, Header, decode
from voxgate.protocol.formats import CONTAINERS

av = pytest.importorskip("av")


class Pipe:
    """A file that cannot seek, and gives little at once."""

    def __init__(self, data: bytes, most_bytes: int = 5000) -> None:
        self._file = io.BytesIO(data)
        self._most_bytes = most_bytes

    def read(self, n_bytes: int, /) -> bytes:
        return self._file.read(min(n_bytes, self._most_bytes))


def test_there_is_a_demuxer_for_each_container():
    assert set(DEMUXERS) == set(CONTAINERS)
    assert all(av.format.ContainerFormat(name, "r").is_input for name in DEMUXERS.values())


def test_the_codecs_exist_and_none_is_of_video():
    known = [name for name in AUDIO_CODECS if name in av.codecs_available]
    assert {"aac", "mp3float", "opus", "vorbis", "alac", "flac"} <= set(known)
    assert {av.Codec(name, "r").type for name in known} == {"audio"}


@pytest.mark.parametrize("container", ["mp3", "webm", "ogg", "wav", "flac"])
def test_the_header_comes_first_and_then_whole_frames(container):
    header, *pieces = decode(Pipe(speech(container)), container, 16)
    assert isinstance(header, Header)
    frame_bytes = header.channels * (4 if header.is_float else 2)
    assert all(len(piece) % frame_bytes == 0 for piece in pieces)
    n_frames = sum(map(len, pieces)) // frame_bytes
    assert n_frames / header.sample_rate == pytest.approx(2.0, abs=0.08)


def test_tags_in_another_encoding_are_no_error():
    tag = b"ID3\x03\x00\x00\x00\x00\x00\x14TIT2\x00\x00\x00\x0a\x00\x00\x03\xff\xfe\xe9\xe8\xc3\x28 \xa0\xa1"
    (header, *pieces), (expected, *_) = (
        decode(Pipe(tag + speech("mp3")), "mp3", 16),
        decode(Pipe(speech("mp3")), "mp3", 16),
    )
    assert header == expected
    assert pieces


def video(with_audio: bool) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        picture = output.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 32
        sound = output.add_stream("aac", rate=RATE, layout="mono") if with_audio else None
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        if sound is not None:
            fifo = av.AudioFifo()
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(SPEECH[:, :RATE]), format="fltp", layout="mono")
            whole.sample_rate = RATE
            fifo.write(whole)
            while (frame := fifo.read(1024, partial=True)) is not None:
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return file.getvalue()


def test_of_a_video_the_sound_is_heard():
    header, *pieces = decode(io.BytesIO(video(with_audio=True)), "mp4", 16)
    assert header == Header(1, RATE, True)
    assert sum(map(len, pieces)) / 4 / RATE == pytest.approx(1.0, abs=0.13)


def test_a_video_without_sound_is_refused():
    with pytest.raises(UnsupportedMedia, match="it has no audio track"):
        list(decode(io.BytesIO(video(with_audio=False)), "mp4", 16))


def test_another_codec_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("voxgate.audio.containers.av_decoder.AUDIO_CODECS", frozenset({"opus"}))
    with pytest.raises(UnsupportedMedia, match=r"its audio uses the codec mp3(float)?, which is not decoded"):
        list(decode(Pipe(speech("mp3")), "mp3", 16))


def test_another_container_than_the_one_named_is_not_guessed():
    with pytest.raises(BrokenMedia):
        list(decode(Pipe(speech("webm")), "mp4", 16))


def test_a_bad_packet_becomes_silence_of_its_length():
    data = bytearray(speech("mp3"))
    whole = b"".join(list(decode(Pipe(bytes(data)), "mp3", 16))[1:])
    middle = len(data) // 2
    at = data.index(data[:2], middle) if data[:2] != b"ID" else data.index(b"\xff\xf3", middle)
    data[at + 4 : at + 200] = bytes(196)  # a frame keeps its head and loses the rest
    damaged = b"".join(list(decode(Pipe(bytes(data)), "mp3", 16))[1:])
    assert len(damaged) == len(whole)
    assert damaged != whole
    assert damaged[: len(whole) // 4] == whole[: len(whole) // 4]
