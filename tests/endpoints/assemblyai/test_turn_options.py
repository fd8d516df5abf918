"""What an AssemblyAI client's query asks of a turn detector."""

from __future__ import annotations

import pytest

from voxgate.endpoints.assemblyai.query import parse_streaming
from voxgate.endpoints.assemblyai.turn_options import with_silences, with_turn_options
from voxgate.errors import InvalidStart
from voxgate.protocol.requests import Start, TurnOptions, VadOptions


def start(query: str) -> Start:
    encoded = f"sample_rate=16000&{query}".encode()
    return with_turn_options(parse_streaming(encoded, min_silence_ms=300), encoded).start


@pytest.mark.parametrize(
    ("query", "turn", "vad"),
    [
        ("", TurnOptions(), None),
        ("end_of_turn_confidence_threshold=0.7", TurnOptions(threshold=0.7), None),
        ("end_of_turn_confidence_threshold=0", TurnOptions(threshold=0.01), None),
        ("min_turn_silence=160", TurnOptions(min_silence_ms=160), None),
        ("min_end_of_turn_silence_when_confident=20", TurnOptions(min_silence_ms=50), None),
        (
            "max_turn_silence=2400&min_turn_silence=400",
            TurnOptions(min_silence_ms=400, max_silence_ms=2400),
            VadOptions(silence_duration_ms=2400),
        ),
        ("max_turn_silence=99999", TurnOptions(max_silence_ms=10_000), VadOptions(silence_duration_ms=10_000)),
    ],
)
def test_options(query, turn, vad):
    assert (start(query).turn, start(query).vad) == (turn, vad)


def test_an_update_changes_the_silences_and_keeps_the_threshold():
    query = b"sample_rate=16000&end_of_turn_confidence_threshold=0.7&min_turn_silence=160"
    streaming = with_turn_options(parse_streaming(query, min_silence_ms=300), query)
    changed = with_silences(streaming.configured({"type": "UpdateConfiguration", "max_turn_silence": 2000}))
    assert changed.start.turn == TurnOptions(min_silence_ms=160, threshold=0.7, max_silence_ms=2000)
    assert changed.start.vad == VadOptions(silence_duration_ms=2000)


def test_without_a_turn_detector_silences_are_those_of_speech():
    streaming = parse_streaming(b"sample_rate=16000&min_turn_silence=700", min_silence_ms=300)
    assert with_silences(streaming) == streaming


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "much", "0_1", ""])
def test_a_threshold_is_a_number(text):
    with pytest.raises(InvalidStart, match="end_of_turn_confidence_threshold: expected a number between 0 and 1"):
        start(f"end_of_turn_confidence_threshold={text}")
