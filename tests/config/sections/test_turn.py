"""The settings of turn detection."""

from __future__ import annotations

import pytest

from voxgate.config import load_config
from voxgate.errors import ConfigError
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector
from voxgate.vad.turns import TurnConfig


@pytest.mark.parametrize("detector", ["", "text", "smart-turn:/a b/c.onnx", "pkg.module:Class"])
def test_names_of_detectors(detector):
    assert load_config(environ={}, overrides={"turn.detector": detector}, default_path=None).turn.detector == detector


@pytest.mark.parametrize("detector", ["smart-turn", "smart-turn:", "txt", "a b:C", "pkg:", "text "])
def test_what_is_no_name_of_a_detector(detector):
    with pytest.raises(ConfigError, match=r"turn\.detector must be text, smart-turn:PATH or pkg\.module:attr"):
        load_config(environ={}, overrides={"turn.detector": detector}, default_path=None)


def test_the_default_silence_is_whole_frames():
    config = load_config(environ={}, default_path=None)
    turn = TurnConfig("text", **config.turn.tunables())
    assert turn == TurnConfig("text")
    detector = load_detector("silero")
    rules = VadConfig().to_endpoint(detector.frame_samples, detector.sample_rate, turn=turn)
    assert rules.turn_samples == 6 * detector.frame_samples


def test_thresholds_of_the_settings_are_in_order():
    config = load_config(environ={}, overrides={"turn.threshold": 0.05}, default_path=None)
    assert config.turn.unfinished_threshold == 0.05
    with pytest.raises(ConfigError, match=r"turn.unfinished_threshold must be at most turn.threshold \(0.5\), got 0.6"):
        load_config(environ={}, overrides={"turn.unfinished_threshold": 0.6}, default_path=None)
