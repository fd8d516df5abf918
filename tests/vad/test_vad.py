"""Settings and their ranges, detectors and how they are found, and the one-shot functions on real speech."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
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
from voxgate.errors import ConfigError, InvalidStart, WeightsError
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import VadOptions
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import DETECTORS, load_detector
from voxgate.vad.offline import segments, segments_of_channels, speech_probabilities

Audio = npt.NDArray[np.float32]

RANGES = [
    ("threshold", 0.01, 0.99, ""),
    ("negative_threshold", 0, 0.5, ""),
    ("prefix_padding_ms", 0, 5000, " ms"),
    ("suffix_padding_ms", 0, 2000, " ms"),
    ("silence_duration_ms", 50, 10_000, " ms"),
    ("min_speech_ms", 0, 2000, " ms"),
    ("max_segment_s", 1, 300, " s"),
    ("interim_interval_ms", 50, 60_000, " ms"),
]


class TestConfig:
    def test_defaults_are_those_of_the_protocol(self) -> None:
        config = VadConfig()
        config.check()
        assert (config.threshold, config.negative_threshold) == (0.5, 0.35)
        assert (config.prefix_padding_ms, config.suffix_padding_ms, config.silence_duration_ms) == (600, 0, 600)
        assert (config.min_speech_ms, config.max_segment_s, config.interim_interval_ms) == (90, 30, 500)

    @pytest.mark.parametrize(("name", "lowest", "highest", "unit"), RANGES)
    def test_ranges(self, name: str, lowest: float, highest: float, unit: str) -> None:
        step = 0.001 if highest < 1 else 1
        for value in (lowest, highest):
            extra = {"negative_threshold": 0} if name == "threshold" else {}
            VadConfig(**{name: value}, **extra).check()
        for value in (lowest - step, highest + step, float("nan"), float("inf"), True, "1", None):
            with pytest.raises(ValueError, match=rf"^{name} must be {lowest}\.\.{highest}{unit}, got "):
                VadConfig(**{name: value}).check()  # type: ignore[arg-type]

    def test_milliseconds_become_the_nearest_sample(self) -> None:
        rules = VadConfig(min_speech_ms=90, silence_duration_ms=333, prefix_padding_ms=1).to_endpoint(512, 22_050, True)
        assert rules.frame_samples == 512
        assert rules.min_speech_samples == 1985  # 1984.5
        assert rules.silence_samples == 7343  # 7342.65
        assert rules.prefix_samples == 22  # 22.05
        assert rules.suffix_samples == 0
        assert rules.max_segment_samples == 661_500
        assert rules.interim_samples == 11_025
        assert VadConfig().to_endpoint(512, 22_050, interims=False).interim_samples == 0

    def test_nothing_out_of_range_reaches_the_endpointer(self) -> None:
        with pytest.raises(ValueError, match="max_segment_s"):
            VadConfig(max_segment_s=0.5).to_endpoint(512, 16000)

    def test_client_options_go_over_the_settings(self) -> None:
        server = VadConfig(threshold=0.6, prefix_padding_ms=100)
        merged = server.merged(VadOptions(silence_duration_ms=400, max_segment_s=5.5))
        assert merged == VadConfig(threshold=0.6, prefix_padding_ms=100, silence_duration_ms=400, max_segment_s=5.5)
        assert server.merged(None) is server
        assert server.merged(VadOptions()) == server

    def test_zero_is_a_value_and_not_a_missing_one(self) -> None:
        merged = VadConfig().merged(VadOptions(prefix_padding_ms=0, negative_threshold=0.0, min_speech_ms=0))
        assert (merged.prefix_padding_ms, merged.negative_threshold, merged.min_speech_ms) == (0, 0, 0)

    def test_a_low_threshold_alone_takes_the_negative_one_along(self) -> None:
        assert VadConfig().merged(VadOptions(threshold=0.2)) == VadConfig(threshold=0.2, negative_threshold=0.2)
        assert VadConfig().merged(VadOptions(threshold=0.4)) == VadConfig(threshold=0.4)
        with pytest.raises(InvalidStart, match=r"vad\.negative_threshold must be 0\.\.0\.2, got 0\.3"):
            VadConfig().merged(VadOptions(threshold=0.2, negative_threshold=0.3))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (VadOptions(threshold=1.5), r"vad\.threshold must be 0\.01\.\.0\.99, got 1\.5"),
            (VadOptions(prefix_padding_ms=-1), r"vad\.prefix_padding_ms must be 0\.\.5000 ms, got -1"),
            (VadOptions(max_segment_s=301.0), r"vad\.max_segment_s must be 1\.\.300 s, got 301\.0"),
            (VadOptions(silence_duration_ms=10**5000), r"vad\.silence_duration_ms .* got an integer of \d+ bits"),
        ],
    )
    def test_client_options_out_of_range(self, options: VadOptions, message: str) -> None:
        with pytest.raises(InvalidStart, match=message):
            VadConfig().merged(options)

    def test_unknown_field(self) -> None:
        with pytest.raises(TypeError):
            VadConfig().changed(treshold=0.5)


OWN = '''
class Loud:
    """The largest sample of all frames so far: it has a memory, so that a shared one would be seen."""
    frame_samples = 100
    sample_rate = 8000
    def __init__(self):
        self.peak = 0.0
    def probability(self, frame):
        assert frame.dtype == "float32" and frame.shape == (100,)
        self.peak = max(self.peak, abs(frame).max())
        return min(1.0, self.peak)

class Holder:
    nested = Loud

def make():
    return Loud()

ready = Loud()
ready.lock = None

class Silent:
    frame_samples = 100
    sample_rate = 8000

class NoRate(Loud):
    sample_rate = None

class BadFrame(Loud):
    frame_samples = 0

class Broken(Loud):
    def __init__(self):
        raise OSError("no weights here")

import threading
stuck = Loud()
stuck.lock = threading.Lock()
number = 3
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_detectors_for_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_detectors_for_test"


class TestLoadDetector:
    def test_weights_are_loaded_once(self) -> None:
        one, other = load_detector("silero").create(1), load_detector().create(2)
        assert one.network is other.network  # type: ignore[attr-defined]
        assert (one.channels, other.channels) == (1, 2)

    @pytest.mark.parametrize("name", DETECTORS)
    def test_factory_tells_what_its_detectors_are(self, name: str) -> None:
        factory = load_detector(name)
        made = factory.create(3)
        assert factory.name == name
        assert (made.frame_samples, made.sample_rate) == (factory.frame_samples, factory.sample_rate)
        assert made.channels == 3
        assert factory.create(3) is not made

    def test_bad_weights_are_an_error_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError):
            load_detector("silero", str(tmp_path / "missing.bin"))
        (tmp_path / "wrong.bin").write_bytes(b"RIFF")
        with pytest.raises(WeightsError):
            load_detector("silero", tmp_path / "wrong.bin")

    def test_unknown_name(self) -> None:
        with pytest.raises(
            ConfigError, match=r"unknown detector 'siler': expected silero, energy or 'pkg\.module:attr"
        ):
            load_detector("siler")

    @pytest.mark.parametrize("attribute", ["Loud", "make", "ready", "Holder.nested"])
    def test_own(self, own: str, attribute: str) -> None:
        factory = load_detector(f"{own}:{attribute}")
        assert (factory.frame_samples, factory.sample_rate) == (100, 8000)
        audio = np.zeros((2, 300), np.float32)
        audio[0, 150] = 0.75
        for _ in range(2):  # the second one has not heard what the first has
            assert factory.create(2).probabilities(audio).tolist() == [[0, 0.75, 0.75], [0, 0, 0]]

    def test_own_is_found_in_the_current_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own_detectors_of_cwd.py").write_text(OWN)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", ["/nowhere"] + [p for p in __import__("sys").path if p])
        assert load_detector("own_detectors_of_cwd:Loud").sample_rate == 8000

    @pytest.mark.parametrize(
        ("attribute", "message"),
        [
            ("Missing", "has no attribute 'Missing'"),
            ("Silent", r"has no method probability\(frame\)"),
            ("NoRate", r"sample_rate must be an integer, 4000\.\.192000, got None"),
            ("BadFrame", r"frame_samples must be an integer, 1\.\.1048576, got 0"),
            ("Broken", "cannot be made: OSError: no weights here"),
            ("stuck", "an object that cannot be copied"),
            ("number", "must be a class, a function or a detector, got int"),
        ],
    )
    def test_own_that_is_none(self, own: str, attribute: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_detector(f"{own}:{attribute}")

    def test_no_such_module(self) -> None:
        with pytest.raises(ConfigError, match="no module named"):
            load_detector("no_such_module_anywhere:Thing")


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
