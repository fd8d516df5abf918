"""Turn detectors by name."""

from __future__ import annotations

import pytest

import voxgate
from voxgate.errors import ConfigError
from voxgate.vad.turns import TurnDetector, TurnQuestion, load_turn_detector, public_name
from voxgate.vad.turns.text import TextTurns


class Fine(TurnDetector):
    sample_rate = 8000

    def judge(self, questions):
        return [0.5 for _ in questions]


class Raises(TurnDetector):
    def __init__(self) -> None:
        raise OSError("no weights")


class TooFast(TurnDetector):
    sample_rate = 1


class TooLong(TurnDetector):
    window_s = 61


NO_CLASS = 3


def test_public_names():
    assert (voxgate.TurnDetector, voxgate.TurnQuestion) == (TurnDetector, TurnQuestion)


def test_those_that_there_are():
    assert isinstance(load_turn_detector("text"), TextTurns)
    assert isinstance(load_turn_detector(f"{__name__}:Fine"), Fine)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deep", "unknown turn detector 'deep': expected text, smart-turn:PATH or pkg.module:Name"),
        (f"{__name__}:Missing", "turn detector .*Missing"),
        (f"{__name__}:NO_CLASS", "must be a class or a function, got int"),
        (f"{__name__}:Raises", "cannot be made: OSError: no weights"),
        ("builtins:dict", "must be a voxgate.TurnDetector, got dict"),
        (f"{__name__}:TooFast", "sample_rate must be an integer, 4000..192000, got 1"),
        (f"{__name__}:TooLong", "window_s must be above 0 and at most 60 s, got 61"),
        ("smart-turn:/no/such.onnx", "there is no such file"),
    ],
)
def test_faults(name, message):
    with pytest.raises(ConfigError, match=message):
        load_turn_detector(name)


def test_clients_see_no_path():
    assert public_name("smart-turn:/secret/file.onnx") == "smart-turn"
    assert public_name("pkg.module:Name") == "pkg.module:Name"
    assert public_name("") == ""
