"""The session object of the Realtime API."""

from __future__ import annotations

import pytest

from voxgate.config import VadSettings
from voxgate.endpoints.openai.realtime_requests import InvalidRequest
from voxgate.endpoints.openai.realtime_session import RealtimeSession
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import TurnOptions, VadOptions

PCM24 = AudioFormat(1, 24_000, 16, False)


def session(**fields):
    return {"type": "transcription", "audio": {"input": fields}}


def started(update, is_beta=False, min_silence_ms=100):
    return RealtimeSession().updated(update, is_beta).start(min_silence_ms)


def test_without_an_update():
    start = RealtimeSession().start(100)
    assert (start.format, start.vad, start.segmentation) == (PCM24, None, "auto")
    assert (start.interim_results, start.notices, start.stability) == (True, True, True)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "audio/pcm", "rate": 24_000}, PCM24),
        ({"type": "audio/pcm"}, PCM24),
        ({"type": "audio/pcm", "rate": 16_000}, AudioFormat(1, 16_000, 16, False)),
        ({"type": "audio/pcmu"}, AudioFormat(1, 8000, 8, False, "mulaw")),
        ({"type": "audio/pcma"}, AudioFormat(1, 8000, 8, False, "alaw")),
    ],
)
def test_formats(form, expected):
    assert started(session(format=form)).format == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pcm16", PCM24),
        ("g711_ulaw", AudioFormat(1, 8000, 8, False, "mulaw")),
        ("g711_alaw", AudioFormat(1, 8000, 8, False, "alaw")),
    ],
)
def test_formats_of_the_beta(name, expected):
    update = RealtimeSession().updated({"input_audio_format": name, "turn_detection": None}, True)
    start = update.start(100)
    assert (start.format, start.segmentation) == (expected, "manual")
    assert update.shown("id")["input_audio_format"] == name


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ({"type": "server_vad"}, None),
        (
            {"type": "server_vad", "threshold": 0.25, "silence_duration_ms": 700},
            VadOptions(threshold=0.25, silence_duration_ms=700),
        ),
        # Out of our range: the nearest that is in it.
        (
            {"threshold": 1, "prefix_padding_ms": 10**9, "silence_duration_ms": 1},
            VadOptions(threshold=0.99, prefix_padding_ms=5000, silence_duration_ms=100),
        ),
        ({"type": "semantic_vad"}, VadOptions(silence_duration_ms=800)),
        ({"type": "semantic_vad", "eagerness": "low"}, VadOptions(silence_duration_ms=1500)),
        ({"type": "server_vad", "create_response": True, "idle_timeout_ms": None}, None),
    ],
)
def test_turn_detection(detection, expected):
    start = started(session(turn_detection=detection))
    assert (start.vad, start.segmentation) == (expected, "auto")


def test_no_turn_detection_is_manual_and_an_absent_one_changes_nothing():
    manual = RealtimeSession().updated(session(turn_detection=None), False)
    assert manual.start(100).segmentation == "manual"
    assert manual.updated(session(transcription={"model": "x"}), False).start(100).segmentation == "manual"
    assert manual.updated(session(turn_detection={"type": "server_vad"}), False).start(100).segmentation == "auto"


def test_what_is_shown():
    vad = VadSettings(threshold=0.4, prefix_padding_ms=1, silence_duration_ms=2)
    shown = RealtimeSession.of(vad).updated(session(transcription={"model": "m", "language": "de"}), False).shown("s")
    assert shown["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": "m", "language": "de"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.4,
            "prefix_padding_ms": 1,
            "silence_duration_ms": 2,
        },
        "noise_reduction": None,
    }
    assert (shown["id"], shown["type"]) == ("s", "transcription")


@pytest.mark.parametrize(
    ("update", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"audio": 3}, "session.audio"),
        ({"audio": {"input": []}}, None),
        ({"audio": {"input": [1]}}, "session.audio.input"),
        (session(format={"type": "audio/mp3"}), "session.audio.input.format.type"),
        (session(format={"type": "audio/pcm", "rate": "x"}), "session.audio.input.format.type"),
        (session(format={"type": ["audio/pcm"]}), "session.audio.input.format.type"),
        (session(transcription=3), "session.audio.input.transcription"),
        (session(turn_detection=3), "session.audio.input.turn_detection"),
        (session(turn_detection={"type": "magic"}), "session.audio.input.turn_detection"),
        (session(turn_detection={"eagerness": "x"}), "session.audio.input.turn_detection"),
        (session(turn_detection={"type": "semantic_vad", "eagerness": ["low"]}), "session.audio.input.turn_detection"),
        (session(turn_detection={"type": ["server_vad"]}), "session.audio.input.turn_detection"),
        (session(turn_detection={"threshold": True}), "session.audio.input.turn_detection.threshold"),
    ],
)
def test_values_that_cannot_be_served(update, param):
    if param is None:
        assert RealtimeSession().updated(update, False) == RealtimeSession()
        return
    with pytest.raises(InvalidRequest) as caught:
        RealtimeSession().updated(update, False)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("detection", "turn"),
    [
        (None, None),
        ({"type": "server_vad"}, TurnOptions(enabled=False)),
        ({"type": "semantic_vad"}, TurnOptions(max_silence_ms=4000)),
        ({"type": "semantic_vad", "eagerness": "low"}, TurnOptions(max_silence_ms=8000)),
        ({"type": "semantic_vad", "eagerness": "high"}, TurnOptions(max_silence_ms=2000)),
    ],
)
def test_semantic_vad_uses_the_turn_detector(detection, turn):
    settings = RealtimeSession(detection=detection)
    assert settings.start(300, has_turn_detector=True).turn == turn
    assert settings.start(300).turn is None
