"""The settings of voice-activity detection, and their ranges."""

from __future__ import annotations

import pytest

from voxgate.errors import InvalidStart
from voxgate.protocol.requests import VadOptions
from voxgate.vad.config import VadConfig

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
