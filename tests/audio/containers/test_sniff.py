"""The sniffer names what real files look like, by as few bytes as possible."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers.demuxing import MEDIA
from helpers.media import live_speech, speech
from voxgate.audio.containers.sniff import SNIFF_BYTES, sniff


def soundfile_of(format: str, **more: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 20_000)
    soundfile.write(file, noise, 16_000, format=format, **more)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "container"),
    [
        ((MEDIA / "firefox-100ms.ogg").read_bytes, "ogg"),
        ((MEDIA / "chromium-100ms.webm").read_bytes, "webm"),
        *((lambda name=name: speech(name), name) for name in ("webm", "ogg", "wav", "flac", "mp3", "mp4", "aac")),
        *((lambda name=name: live_speech(name), name) for name in ("webm", "ogg", "mp4")),
        (lambda: soundfile_of("MP3"), "mp3"),
        (lambda: soundfile_of("RF64"), "wav"),
        (lambda: b"ID3\4\0\0\0\0\1\0" + bytes(128) + speech("mp3"), "mp3"),
        (lambda: b"ID3\4\0\0\0\0\1\0" + bytes(128) + speech("flac"), "flac"),
        (lambda: b"ID3\4\0\0\0\0\1\0" + bytes(128) + speech("aac"), "aac"),
        (lambda: b"ID3\4\0\0\0\x7f\x7f\x7f" + bytes(5000), "mp3"),
    ],
)  # fmt: skip
def test_containers(data, container):
    head = data()[:SNIFF_BYTES]
    found = sniff(head)
    assert found is not None
    assert found.container == container
    # Fewer bytes say the same, or that more are needed.
    for n_bytes in itertools.chain(range(80), range(80, len(head), 97)):
        assert sniff(head[:n_bytes]) in (None, found)
    assert sniff(head, is_all=True) == found


def test_a_single_frame_of_aac():
    frame = b"\xff\xf1\x50\x80\x01\x80\xfc" + bytes(5)
    assert sniff(frame) is None
    assert sniff(frame, is_all=True) == ("aac", "AAC (ADTS)")


@pytest.mark.parametrize(
    ("data", "label"),
    [
        (b"", "nothing"),
        (b"#EXTM3U\nhttp://x", "a playlist"),
        (b"ffconcat version 1.0", "a playlist of FFmpeg"),
        (b"\xff\xd8\xff\xe0JFIF", "a JPEG image"),
        (b"RIFF1234WEBPVP8 ", "a WebP image"),
        (b"RIFF1234AVI LIST", "AVI video"),
        (b"RIFF1234abcdefgh", "a RIFF file that is no WAVE"),
        (b"FORM1234AIFFCOMM", "AIFF"),
        (b"\0\0\0\x20ftypheic....", "an AVIF or HEIC image"),
        (b'{"type": "start"}', "JSON"),
        (b"hello, how are you", "text"),
        (b"<!doctype html><html>", "an HTML or XML document"),
        (b"<HTML><body>hello", "an HTML document"),
        (bytes(100), "zeros: raw PCM, or an unknown format"),
        (b"\x47" + bytes(187) + b"\x47" + bytes(187) + b"\x47" + bytes(187), "an MPEG transport stream"),
        (b"PK\3\4", "a ZIP archive or an office document"),
        (b"\1\2\3\4\5\6\7\x80\x90", "raw PCM or an unknown format"),
    ],
)
def test_what_is_no_container(data, label):
    assert sniff(data, is_all=True) == (None, label)


def test_quiet_pcm_is_no_mp3():
    """s16 samples of -1 have the bits that a frame of MPEG audio begins with."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        pcm = rng.integers(-20, 3, SNIFF_BYTES // 2, np.int16).tobytes()
        assert sniff(pcm).container is None


def test_labels_of_mp4():
    assert sniff(b"\0\0\0\x20ftypqt  " + bytes(20), is_all=True) == ("mp4", "QuickTime")
    assert sniff(b"\0\0\0\x20ftypM4A " + bytes(20), is_all=True) == ("mp4", "MP4")
    assert sniff(b"\0\0\0\x20moov\0\0\0\0" + bytes(20), is_all=True) == ("mp4", "MP4 or QuickTime")


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda rest: b"\xff\xfb\x90\0" + rest)))
def test_it_always_decides_in_the_end(head):
    assert sniff(head, is_all=True) is not None
    assert sniff(head.ljust(SNIFF_BYTES, b"\xff")) is not None
