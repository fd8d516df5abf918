"""Opus streams: exactly as long as the container says, by libopus and by PyAV, whatever is lost or damaged."""

from __future__ import annotations

import io

import numpy as np
import pytest

from helpers.demuxing import demux
from helpers.media import RATE, SPEECH
from voxgate._native.ogg import OggDemuxer
from voxgate.audio.containers import libopus, opus
from voxgate.audio.containers.base import UnsupportedMedia
from voxgate.audio.containers.encoding import encode
from voxgate.audio.containers.opus import OPUS_RATES, OpusStream, has_opus, opus_rate
from voxgate.audio.containers.opus_head import OpusHead, parse_opus_head
from voxgate.audio.soxr import resample

MONO = OpusHead(1, 312)


def packets() -> list[bytes]:
    """2 s of speech in packets of 20 ms."""
    events = demux(OggDemuxer(), [encode(SPEECH[:, : 2 * RATE], RATE, "ogg")])
    return [event[1] for event in events[1:]]


@pytest.fixture(params=["libopus", "pyav"])
def library(request, monkeypatch) -> str:
    if request.param == "pyav":
        monkeypatch.setattr(opus, "load_libopus", lambda: None)
    else:
        assert libopus.load_libopus() is not None, "PyAV's wheel has one"
    return request.param


def pcm(stream: OpusStream, *takes: tuple[bytes, int, int, int, int]) -> np.ndarray:
    data = b"".join(part for take in takes for part in stream.take(*take))
    return np.frombuffer(data, np.float32).reshape(-1, stream.format.channels)


def snr_db(heard: np.ndarray, said: np.ndarray) -> float:
    return float(10 * np.log10((said**2).sum() / ((heard - said) ** 2).sum()))


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_the_speech_is_heard_where_it_was(library, rate):
    stream = OpusStream(MONO, rate)
    heard = pcm(stream, *((packet, 960, 0, 0, 0) for packet in packets()))[:, 0]
    if stream.format.sample_rate != RATE:
        heard = resample(heard[np.newaxis], stream.format.sample_rate, RATE, "VHQ")[0]
    said = SPEECH[0, : min(len(heard), 2 * RATE)]
    scores = {lag: snr_db(np.roll(heard, -lag)[100 : len(said) - 100], said[100:-100]) for lag in range(-3, 4)}
    best = max(scores, key=scores.__getitem__)
    assert scores[best] > 12
    # libopus itself is late by less than a sample of 16 kHz when it resamples SILK to 48 kHz.
    assert best == 0 or (library, rate, best) == ("libopus", 48_000, -1)


@pytest.mark.parametrize("rate", OPUS_RATES)
def test_lengths_are_exact_at_every_rate(library, rate):
    stream = OpusStream(MONO, rate)
    rate, parts = stream.format.sample_rate, packets()
    first = pcm(stream, (parts[0], 960, 0, 0, 0))
    assert len(first) == (960 - 312) * rate // 48_000
    assert len(pcm(stream, (parts[1], 960, 0, 240, 0))) == 720 * rate // 48_000
    assert len(pcm(stream, (parts[2], 960, 1920, 0, 480))) == (1920 + 480) * rate // 48_000
    assert len(pcm(stream, (parts[3], 960, 48_000 * 10, 0, 960))) == 10 * rate


def test_rates():
    assert [opus_rate(rate) for rate in (4_000, 8_000, 8_001, 16_000, 22_050, 44_100, 96_000)] == [
        8_000, 8_000, 12_000, 16_000, 24_000, 48_000, 48_000
    ]  # fmt: skip
    assert opus_rate(None) == 48_000


def test_the_pre_skip_goes_over_packets_and_gaps(library):
    stream = OpusStream(OpusHead(1, 4000), 48_000)
    assert len(pcm(stream, (packets()[0], 960, 0, 0, 0))) == 0
    assert len(pcm(stream, (packets()[1], 960, 960, 0, 0))) == 0
    assert len(pcm(stream, (packets()[2], 960, 240, 0, 0))) == 960 * 4 + 240 - 4000


def test_libopus_conceals_and_pyav_is_silent(library):
    parts = packets()
    voiced = max(range(20, 60), key=lambda k: np.abs(SPEECH[0, k * 320 : k * 320 + 320]).sum())
    stream = OpusStream(OpusHead(1), 16_000)
    pcm(stream, *((packet, 960, 0, 0, 0) for packet in parts[:voiced]))
    data = b"".join(stream.take(parts[voiced + 1], 960, 960, 0, 0))
    heard = np.frombuffer(data, np.float32)
    gap = heard[: len(heard) // 2]
    assert len(gap) == stream.format.sample_rate // 50
    assert (np.abs(gap).max() > 0.01) == (library == "libopus")
    long = np.frombuffer(b"".join(stream.take(parts[0], 960, 48_000, 0, 0)), np.float32)
    assert not long[stream.format.sample_rate // 4 : stream.format.sample_rate * 9 // 10].any()


def test_a_damaged_packet_is_concealed(library):
    stream = OpusStream(OpusHead(1), 16_000)
    pcm(stream, (packets()[0], 960, 0, 0, 0))
    assert len(pcm(stream, (b"\x4b\x83" + bytes(1), 2880, 0, 0, 0))) == 2880 * stream.format.sample_rate // 48_000
    assert stream.n_damaged == 1


def test_gain(library):
    parts = packets()
    plain = pcm(OpusStream(OpusHead(1), 48_000), *((packet, 960, 0, 0, 0) for packet in parts))
    loud = pcm(OpusStream(OpusHead(1, gain=2.0), 48_000), *((packet, 960, 0, 0, 0) for packet in parts))
    np.testing.assert_allclose(loud, 2 * plain, atol=1e-6)


def test_stereo_and_surround(library):
    import av

    tones = np.stack(
        [0.2 * np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000) for hz in (200, 300, 500, 60, 800, 1200)]
    )
    for layout, channels in (("stereo", 2), ("5.1", 6)):
        file = io.BytesIO()
        with av.open(file, "w", format="ogg") as out:
            track = out.add_stream("libopus", rate=48_000, layout=layout, options={"mapping_family": "1"})
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(tones[:channels].T.reshape(1, -1), np.float32), "flt", layout
            )
            frame.sample_rate = 48_000
            out.mux(track.encode(frame))
            out.mux(track.encode(None))
        events = demux(OggDemuxer(), [file.getvalue()])
        stream = OpusStream(parse_opus_head(events[0][2]), 48_000)
        heard = pcm(stream, *((event[1], *event[3:]) for event in events[1:]))
        assert heard.shape == (48_000, channels)
        peaks = np.abs(np.fft.rfft(heard[:48_000], axis=0)).argmax(axis=0)
        assert peaks.tolist() == [200, 300, 500, 60, 800, 1200][:channels]


def test_without_both(monkeypatch):
    monkeypatch.setattr(opus, "load_libopus", lambda: None)
    monkeypatch.setattr(opus.importlib.util, "find_spec", lambda name: None)
    assert not has_opus()

    def refuse(head: OpusHead) -> None:
        raise ImportError

    monkeypatch.setattr(opus, "AvOpusDecoder", refuse)
    with pytest.raises(UnsupportedMedia, match=r"voxgate\[media\]"):
        OpusStream(MONO)


def test_with_either(library):
    assert has_opus()
