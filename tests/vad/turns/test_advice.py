"""Settings with which a turn detector decides nothing."""

from __future__ import annotations

from typing import Any

import pytest

from voxgate.vad.config import VadConfig
from voxgate.vad.turns import TurnConfig
from voxgate.vad.turns.advice import why_idle

ON = TurnConfig("a:Detector")


def told(turn: TurnConfig = ON, vad: VadConfig | None = None, **known: Any) -> str | None:
    vad = vad or VadConfig()
    known = {"needs_text": False, "speculate_ms": 200, "gives_text": None, **known}
    return why_idle(turn, vad.silence_duration_ms, vad.suffix_padding_ms, **known)


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"gives_text": False},
        {"speculate_ms": 0},
        {"needs_text": True},
        {"needs_text": True, "gives_text": True},
        {"turn": TurnConfig("a:Detector", min_silence_ms=599)},
        {"turn": TurnConfig(min_silence_ms=600), "needs_text": True, "gives_text": False},  # There is none.
    ],
)
def test_what_decides(known):
    assert told(**known) is None


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (
            {"turn": TurnConfig("a:Detector", min_silence_ms=600)},
            "turn.min_silence_ms (600) and vad.suffix_padding_ms (0) must be below vad.silence_duration_ms (600)",
        ),
        (
            {"vad": VadConfig(suffix_padding_ms=700)},
            "turn.min_silence_ms (192) and vad.suffix_padding_ms (700) must be below vad.silence_duration_ms (600)",
        ),
        ({"needs_text": True, "gives_text": False}, "it needs text, and the results of the model have none"),
        (
            {"needs_text": True, "speculate_ms": 0},
            "it needs text, and with vad.speculate_ms=0 only clients with interim results have it",
        ),
    ],
)
def test_what_does_not(known, message):
    assert told(**known) == message
