"""The transcript of a whole file, in every format."""

from __future__ import annotations

import json

from voxgate.endpoints.openai.options import TranscriptionOptions
from voxgate.endpoints.openai.transcription import CONTENT_TYPES, Transcription
from voxgate.protocol.events import Segment

WORDS = [{"word": "Hello", "start": 0.1, "end": 0.5, "confidence": 0.5}]


def transcription():
    result = Transcription()
    deltas = [
        result.add(Segment(0.5, 1.5, True, {"text": " Hello ", "words": WORDS})),
        result.add(Segment(2.0, 2.5, True, {"text": ""})),
        result.add(Segment(3.0, 4.0, True, {"transcript": "wörld", "language": "de"})),
        result.add(Segment(5.0, 6.0, True, {"n": 1})),
    ]
    assert deltas == ["Hello", "", " wörld", ""]
    assert result.deltas() == ["Hello", " wörld"]
    result.duration_s = 7.25
    return result


def encoded(response_format, **options):
    return transcription().encode(TranscriptionOptions(response_format, **options))


def test_texts():
    assert encoded("text") == "Hello wörld\n"
    assert encoded("srt") == ("1\n00:00:00,500 --> 00:00:01,500\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nwörld\n")
    assert encoded("vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHello\n\n00:00:03.000 --> 00:00:04.000\nwörld\n"
    )


def test_json():
    assert json.loads(encoded("json")) == {"text": "Hello wörld", "usage": {"type": "duration", "seconds": 7.25}}


def test_verbose_json():
    found = json.loads(encoded("verbose_json", granularities=frozenset({"segment", "word"})))
    assert (found["task"], found["language"], found["duration"], found["text"]) == (
        "transcribe",
        "de",
        7.25,
        "Hello wörld",
    )
    first, second = found["segments"]
    names = ["avg_logprob", "compression_ratio", "end", "id", "no_speech_prob"]
    assert sorted(first) == [*names, "seek", "start", "temperature", "text", "tokens"]
    assert (first["id"], first["start"], first["end"], first["text"]) == (0, 0.5, 1.5, "Hello")
    assert (second["id"], first["avg_logprob"], second["avg_logprob"]) == (1, -0.6931, 0.0)
    assert found["words"] == [
        {"word": "Hello", "start": 0.6, "end": 1.0},
        {"word": "wörld", "start": 3.0, "end": 4.0},
    ]


def test_the_granularities_decide():
    assert "words" not in json.loads(encoded("verbose_json"))
    assert "segments" not in json.loads(encoded("verbose_json", granularities=frozenset({"word"})))


def test_the_language_of_the_client_stands_where_the_model_says_none():
    empty = Transcription()
    for language, expected in (("fr", "fr"), ("", "unknown")):
        found = json.loads(empty.encode(TranscriptionOptions("verbose_json", language=language)))
        assert (found["language"], found["segments"], found["text"]) == (expected, [], "")


def test_every_format_has_a_type():
    for response_format in CONTENT_TYPES:
        assert isinstance(encoded(response_format), str)
