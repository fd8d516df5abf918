"""The query of ``/v3/ws``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.assemblyai.query import Streaming, parse_streaming
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions


def parse(query: bytes) -> Streaming:
    return parse_streaming(query, min_silence_ms=300)


def test_the_least_that_a_client_sends():
    start = Start(AudioFormat(1, 16_000, 16, False), interim_results=True, notices=True)
    assert parse(b"sample_rate=16000") == Streaming(start, False, 300)


def test_telephones():
    assert parse(b"sample_rate=8000&encoding=pcm_mulaw").start.format == AudioFormat(1, 8000, 8, False, "mulaw")


@pytest.mark.parametrize("model", ["u3-rt-pro", "universal-3-6-pro"])
def test_models_that_announce_speech(model):
    assert parse(f"sample_rate=16000&speech_model={model}".encode()).speech_started
    assert not parse(b"sample_rate=16000&speech_model=universal-streaming-english").speech_started


@pytest.mark.parametrize(
    ("query", "silence_ms"),
    [
        ("min_turn_silence=160", 300),
        ("min_turn_silence=700&max_turn_silence=2400", 700),
        ("max_turn_silence=2400", 2400),
        ("min_end_of_turn_silence_when_confident=500", 500),
        ("max_turn_silence=99999", 10_000),
    ],
)
def test_the_silence_that_ends_a_turn(query, silence_ms):
    assert parse(f"sample_rate=16000&{query}".encode()).start.vad == VadOptions(silence_duration_ms=silence_ms)


SCHEMA = {"properties": {"keyterms": {"type": "array"}, "language": {"type": "string"}}}


@pytest.mark.parametrize(
    ("message", "silence_ms", "options"),
    [
        ({"min_turn_silence": 400}, 400, {"language": "en"}),
        ({"min_turn_silence": 10}, 300, {"language": "en"}),
        ({"max_turn_silence": 900}, 900, {"language": "en"}),
        ({"min_turn_silence": None, "x": 1}, 800, {"language": "en"}),
        ({"keyterms_prompt": ["a", "b"], "language_code": "de"}, 800, {"keyterms": ["a", "b"], "language": "de"}),
    ],
)
def test_an_update(message, silence_ms, options):
    """It changes what it names."""
    query = b"sample_rate=16000&max_turn_silence=800&language_code=en"
    streaming = parse_streaming(query, min_silence_ms=300, options_schema=SCHEMA)
    updated = streaming.configured(message)
    assert updated.start.vad == VadOptions(silence_duration_ms=silence_ms)
    assert updated.start.options == options
    if silence_ms == 800 and options == {"language": "en"}:
        assert updated == streaming


@pytest.mark.parametrize("message", [{"max_turn_silence": "1"}, {"min_turn_silence": -1}, {"redact_pii": True}])
def test_updates_that_cannot_be_served(message):
    with pytest.raises(InvalidMessage, match=f"{next(iter(message))}"):
        parse(b"sample_rate=16000").configured(message)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"", "sample_rate: expected a number of Hz, got nothing"),
        (b"encoding=opus", "encoding opus is not supported; expected pcm_s16le or pcm_mulaw"),
        (b"encoding=x&sample_rate=1", 'encoding: expected one of pcm_s16le, pcm_mulaw, got "x"'),
        (b"sample_rate=16000&webhook_url=http://10.0.0.1/", "webhook_url is not supported: the server calls nobody"),
        (b"sample_rate=16000&redact_pii=true", "redact_pii is not supported: this server removes nothing"),
    ],
)
def test_queries_that_cannot_be_served(query, text):
    with pytest.raises(InvalidStart, match=text):
        parse(query)


@given(st.binary(max_size=100))
def test_any_query_is_read_or_refused(query):
    with contextlib.suppress(InvalidStart):
        assert parse(b"sample_rate=16000&" + query).start.format.channels == 1
