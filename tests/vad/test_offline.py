"""Probabilities and segments of whole recordings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from voxgate import recordings
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.protocol.formats import AudioFormat
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import DETECTORS, load_detector
from voxgate.vad.offline import segments, segments_of_channels, speech_probabilities

Audio = npt.NDArray[np.float32]


def load(name: str) -> tuple[Audio, int]:
    return read_audio(recordings.path(name))


class TestProbabilities:
    @pytest.mark.parametrize("detector", DETECTORS)
    @pytest.mark.parametrize("extra", [-1, 0, 1])
    def test_every_frame_and_the_rest(self, detector: str, extra: int) -> None:
        factory = load_detector(detector)
        size = factory.frame_samples
        audio = load("demo")[0][0, : 60 * size + extra]
        got = speech_probabilities(audio, 16000, detector)
        padded = np.pad(audio, (0, -len(audio) % size))
        assert got.dtype == np.float32
        assert got.shape == (-(-len(audio) // size),)
        assert np.array_equal(got, factory.create(1).probabilities(padded[np.newaxis])[0])

    def test_no_samples_no_frames(self) -> None:
        got = speech_probabilities([], 44_100, "energy")
        assert got.shape == (0,)
        assert got.dtype == np.float32

    def test_another_rate(self) -> None:
        audio, _ = load("demo")
        straight = speech_probabilities(audio[0], 16000)
        around = speech_probabilities(resample(audio[0], 16000, 44_100), 44_100)
        assert around.shape == straight.shape
        assert np.mean(np.abs(around - straight) < 0.05) > 0.97

    def test_doubles_are_floats(self) -> None:
        audio = load("demo")[0][0, :8000]
        assert np.array_equal(
            speech_probabilities(audio.astype(np.float64), 16000, "energy"),
            speech_probabilities(audio, 16000, "energy"),
        )

    @pytest.mark.parametrize(
        ("samples", "rate", "message"),
        [
            (np.zeros((2, 5), np.float32), 16000, r"shape \(n,\), one channel, got \(2, 5\)"),
            (np.float32(0), 16000, r"got \(\)"),
            (np.zeros(5, np.int64), 16000, "must be one of uint8, int16, int32, float16, float32, float64, got int64"),
            (np.zeros(5, bool), 16000, "got bool"),
            (np.zeros(5, np.float32), 0, "sample_rate must be a positive integer"),
            (np.zeros(5, np.float32), 44_100.5, "sample_rate must be a positive integer"),
            (np.zeros(5, np.float32), 3999, "4000"),
        ],
    )
    def test_wrong_samples(self, samples: Any, rate: Any, message: str) -> None:
        for function in (speech_probabilities, segments):
            with pytest.raises(ValueError, match=message):
                function(samples, rate, detector="energy")


NO_PADDING = VadConfig(prefix_padding_ms=0)


class TestSegments:
    # Not the noisy one by its level: that is what the network is for.
    @pytest.mark.parametrize(
        ("name", "detector"),
        [(name, detector) for name in ("demo", "stereo", "telephone") for detector in DETECTORS]
        + [("noisy", "silero")],
    )
    def test_agree_with_a_listener_to_100_ms(self, name: str, detector: str) -> None:
        audio, rate = load(name)
        truth = [[(u.start_s, u.end_s) for u in channel] for channel in recordings.truth(name)]
        heard = segments_of_channels(audio, rate, NO_PADDING, detector)
        assert [len(channel) for channel in heard] == [len(channel) for channel in truth]
        for got, expected in zip(heard, truth, strict=True):
            assert np.abs(np.array(got) - np.array(expected)).max() <= 0.1
        # The defaults give the same, but for 600 ms in front, as far as there is room.
        for got, bare in zip(segments_of_channels(audio, rate, detector=detector), heard, strict=True):
            ends = [0.0] + [end for _, end in bare]
            assert got == [
                (pytest.approx(max(start - 0.6, before)), end) for (start, end), before in zip(bare, ends, strict=False)
            ]

    @pytest.mark.parametrize("detector", DETECTORS)
    def test_channels_are_independent(self, detector: str) -> None:
        audio, rate = load("stereo")
        assert segments_of_channels(audio, rate, detector=detector) == [
            segments(channel, rate, detector=detector) for channel in audio
        ]

    def test_are_those_of_a_session_fed_bit_by_bit(self) -> None:
        audio, rate = load("demo")
        config = VadConfig(max_segment_s=1.0)
        factory = load_detector("energy")
        vad = VadSession(factory.create(1), config.to_endpoint(factory.frame_samples, factory.sample_rate))
        events = [e for at in range(0, audio.shape[1], 777) for e in vad.feed(audio[:, at : at + 777])] + vad.finish()
        expected = [(e.start_pos / 16000, e.end_pos / 16000) for e in events if e.audio is not None]
        assert segments(audio[0], rate, config, "energy") == expected
        assert max(e.end_pos - e.start_pos for e in events if e.audio is not None) == 16_000

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_samples_give_what_a_server_gives(self, data: st.DataObject) -> None:
        """The way of the wire: bytes, cut anywhere, through a stream's decoder and resampler into its session."""
        dtype = data.draw(st.sampled_from(["uint8", "int16", "int32", "float16", "float32", "float64"]))
        rate = data.draw(st.sampled_from([8000, 16_000, 22_050, 48_000]))
        n_channels = data.draw(st.integers(1, 2))
        random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        level = 0.5 * (np.arange(2 * rate) % (rate // 2) < rate // 4)  # bursts
        planes = level * random.standard_normal((n_channels, 2 * rate))
        with np.errstate(over="ignore"):
            if dtype.startswith("float"):
                planes = (planes * data.draw(st.sampled_from([0.1, 1.0, 100.0, 32_768.0]))).astype(dtype)
                for value in data.draw(st.lists(st.floats(width=16), max_size=5)):
                    begin = data.draw(st.integers(0, planes.shape[1] - 1))
                    planes[:, begin : begin + data.draw(st.integers(1, 3000))] = value
            else:
                info = np.iinfo(dtype)
                middle = 128 if dtype == "uint8" else 0
                planes = np.clip(planes * info.max / 2 + middle, info.min, info.max).astype(dtype)
        bits = max(32, 8 * planes.itemsize) if dtype.startswith("float") else 8 * planes.itemsize
        format = AudioFormat(n_channels, rate, bits, dtype.startswith("float"))
        wire = planes.T.astype("<f4").tobytes() if dtype == "float16" else planes.T.tobytes()

        factory = load_detector("energy")
        decoder = StreamDecoder(format, factory.sample_rate)
        session = VadSession(factory.create(n_channels), VadConfig().to_endpoint(factory.frame_samples, 16_000))
        events, at = [], 0
        while at < len(wire):
            n_bytes = data.draw(st.sampled_from([1, 333, 4096, 100_000]))
            n_bytes = max(n_bytes, len(wire) // 20)
            events += session.feed(decoder.push(wire[at : at + n_bytes]))
            at += n_bytes
        events += session.feed(decoder.finish()) + session.finish()
        expected: list[list[tuple[float, float]]] = [[] for _ in range(n_channels)]
        for event in events:
            if event.audio is not None:
                expected[event.channel].append((event.start_pos / 16_000, min(event.end_pos / 16_000, 2.0)))
        assert segments_of_channels(planes, rate, detector=factory) == expected

        whole = load_detector("energy").create(1)
        decoder = StreamDecoder(structs.replace(format, channels=1), factory.sample_rate)
        mono = np.ascontiguousarray(planes[0]).astype("<f4") if dtype == "float16" else planes[0]
        audio = np.concatenate([decoder.push(mono.tobytes()), decoder.finish()], axis=1)
        audio = np.pad(audio, ((0, 0), (0, -audio.shape[1] % factory.frame_samples)))
        assert np.array_equal(speech_probabilities(planes[0], rate, factory), whole.probabilities(audio)[0])

    def test_beyond_full_scale_and_no_number_are_what_the_wire_makes_of_them(self) -> None:
        audio = load("demo")[0]
        loud = np.where(np.abs(audio) > 0.1, audio * 1e6, audio)
        loud[:, 16_000:16_100] = np.nan
        loud[:, 32_000:32_100] = np.inf
        clipped = np.clip(np.where(np.isfinite(loud), loud, 0), -1, 1)
        for detector in DETECTORS:
            assert segments_of_channels(loud, 16_000, detector=detector) == segments_of_channels(
                clipped, 16_000, detector=detector
            )
            assert np.array_equal(
                speech_probabilities(loud[0], 16_000, detector), speech_probabilities(clipped[0], 16_000, detector)
            )

    def test_long_audio_is_the_same_in_slices(self) -> None:
        audio = np.tile(load("demo")[0][0], 4)  # 50 s, more than one slice
        found = segments(audio, 16000, NO_PADDING, "energy")
        assert len(found) == 16
        assert all(before[1] <= after[0] for before, after in pairwise(found))

    def test_none_ends_beyond_the_audio(self, own: str) -> None:
        # 22051 samples at 44.1 kHz are 4000.18 at the detector's 8 kHz.
        for n in range(22_040, 22_060):
            ((start, end),) = segments(np.full(n, 0.9, np.float32), 44_100, detector=f"{own}:Loud")
            assert start == 0.0
            assert n / 44_100 - 1 / 8000 <= end <= n / 44_100

    @pytest.mark.parametrize("n", [0, 1, 319, 320, 160_000, 160_001])
    def test_silence_has_none(self, n: int) -> None:
        assert segments(np.zeros(n, np.float32), 16000, detector="energy") == []

    def test_settings_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="threshold must be"):
            segments(np.zeros(5), 16000, VadConfig(threshold=2), "energy")

    @pytest.mark.parametrize("shape", [(5,), (0, 5), (1, 2, 3)])
    def test_channels_need_planes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"shape \(channels, samples\)"):
            segments_of_channels(np.zeros(shape, np.float32), 16000, detector="energy")
