"""A start as the query of a request."""

from __future__ import annotations

import contextlib
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.query import MAX_OPTIONS, start_of
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, VadOptions

S16 = AudioFormat(1, 16_000, 16, False)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Start(S16)),
        ("container=auto&notices=true", Start(ContainerFormat("auto"), notices=True)),
        ("segmentation=manual&stability=true", Start(S16, segmentation="manual", stability=True)),
        ("sample_rate=8000&channels=2", Start(AudioFormat(2, 8000, 16, False))),
        ("encoding=s16", Start(S16)),
        ("encoding=f32", Start(AudioFormat(1, 16_000, 32, True))),
        ("encoding=mulaw&sample_rate=8000", Start(AudioFormat(1, 8000, 8, False, "mulaw"))),
        ("encoding=alaw&bit_depth=8&is_float=false", Start(AudioFormat(1, 16_000, 8, False, "alaw"))),
        ("bit_depth=32&is_float=true", Start(AudioFormat(1, 16_000, 32, True))),
        ("bit_depth=24", Start(AudioFormat(1, 16_000, 24, False))),
        ("interim_results=true&notices=1&probabilities=false", Start(S16, interim_results=True, notices=True)),
        (
            "vad.threshold=0.25&vad.min_speech_ms=100",
            Start(S16, vad=VadOptions(threshold=0.25, min_speech_ms=100)),
        ),
    ],
)
def test_a_start(query, expected):
    assert start_of(query.encode()) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sample_rate=8k", 'sample_rate: expected int, got "8k"'),
        ("sample_rate=", 'sample_rate: expected int, got ""'),
        ("interim_results=maybe", 'interim_results: expected bool, got "maybe"'),
        ("vad.threshold=loud", 'vad.threshold: expected float, got "loud"'),
        ("channels=1&channels=1", "channels: expected once, got several"),
        ("encoding=mp3", 'encoding must be one of u8, s16, s24, s32, f32, f64, mulaw, alaw, got "mp3"'),
        ("encoding=f32&bit_depth=16", "encoding f32 has a bit depth: expected no bit_depth beside it"),
        ("token=secret", "token: expected in the header Authorization: Bearer TOKEN, not in the query"),
        ("trace_id=x", "trace_id: expected in the header traceparent, not in the query"),
        ("container=ogg&channels=1", "container: the stream itself says its format, expected no channels beside it"),
        ("channels=%ff", "query: expected UTF-8, got bytes that are not UTF-8"),
        ("a=1&" * (MAX_OPTIONS + 1), f"query: expected at most {MAX_OPTIONS} options"),
    ],
)
def test_what_is_no_start(query, message):
    with pytest.raises(InvalidStart) as caught:
        start_of(query.encode())
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["sample_rat", "vad", "vad.", "vad.nothing", "option", "option.", "request", ""])
def test_an_unknown_option_is_named(name):
    with pytest.raises(InvalidStart, match=r"expected options among sample_rate, .*, option\.NAME, got ") as caught:
        start_of(f"{name}=1".encode())
    assert str(caught.value).endswith(f'got "{name}"')


@given(st.dictionaries(st.sampled_from(["channels", "sample_rate", "encoding", "vad.threshold", "notices"]), st.text()))
def test_any_query_is_a_start_or_an_error(pairs):
    with contextlib.suppress(InvalidStart):
        assert isinstance(start_of(urlencode(pairs).encode()), Start)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_start_or_an_error(query):
    for data in (query, quote(query).encode(), b"channels=" + query):
        with contextlib.suppress(InvalidStart):
            assert isinstance(start_of(data), Start)


@pytest.mark.parametrize(
    ("content_type", "query", "is_container"),
    [
        ("audio/webm;codecs=opus", "", True),
        ("audio/x-wav", "notices=true", True),
        ("Audio/Mpeg", "", True),
        ("audio/wav", "sample_rate=8000", False),
        ("audio/pcm", "", False),
        ("application/x-www-form-urlencoded", "", False),
        ("", "", False),
    ],
)
def test_the_type_of_a_body_names_a_container(content_type, query, is_container):
    assert isinstance(start_of(query.encode(), content_type).format, ContainerFormat) == is_container
