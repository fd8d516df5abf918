"""Answers of transcription servers: documents, refusals, and streams that are cut anywhere."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.models.openai.answers import (
    MAX_EVENT_BYTES,
    BadAnswer,
    EventDecoder,
    Transcription,
    error_text,
    model_names,
    parse_answer,
)


def test_a_short_answer_and_a_long_one() -> None:
    assert parse_answer(b'{"text": " Hello. ", "usage": {"seconds": 1}}') == {"text": "Hello."}
    body = {
        "task": "transcribe",
        "text": "Hi there",
        "language": "english",
        "duration": 1.5,
        "words": [{"word": "Hi", "start": 0, "end": 0.5, "more": 1}, {"word": "there", "start": 0.5, "end": 1.25}],
        "segments": [{"id": 0, "text": " Hi there", "start": 0.0, "end": 1.25, "tokens": [1, 2], "temperature": 0.0}],
    }
    assert parse_answer(json.dumps(body).encode()) == {
        "text": "Hi there",
        "language": "english",
        "words": [{"word": "Hi", "start": 0.0, "end": 0.5}, {"word": "there", "start": 0.5, "end": 1.25}],
        "segments": [{"text": " Hi there", "start": 0.0, "end": 1.25}],
    }


@pytest.mark.parametrize("body", [b"", b"Hello.", b'{"text": null}', b"[]", b'{"txt": "a"}', b'{"text": "\xff"}'])
def test_anything_else_is_no_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="no valid answer"):
        parse_answer(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": {"message": "too short", "type": "x", "code": "bad"}}', ("too short", "bad")),
        (b'{"error": {"message": "too short", "code": 400}}', ("too short", "400")),
        (b'{"object": "error", "message": "no model", "code": 404}', ("no model", "")),
        (b'{"detail": "Not Found"}', ("Not Found", "")),
        (b'{"detail": [{"loc": ["file"]}]}', ("", "")),
        (b'{"error": "boom"}', ("boom", "")),
        (b"<html>", ("", "")),
    ],
)
def test_the_message_of_a_refusal(body: bytes, expected: tuple[str, str]) -> None:
    assert error_text(body) == expected


def test_the_names_of_models() -> None:
    assert model_names(b'{"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}') == ["a", "b"]
    assert model_names(b'{"models": []}') == model_names(b"<html>") == []


STREAM = (
    b': a comment\r\ndata: {"a": 1}\r\n\r\nevent: x\nid: 3\ndata:first\ndata: second\n\n\n\ndata: [DONE]\n\ndata: rest'
)


def decoded(pieces: list[bytes]) -> list[bytes]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.push(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_how_a_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    bounds = sorted({0, len(STREAM), *cuts})
    pieces = [STREAM[begin:end] for begin, end in itertools.pairwise(bounds)]
    assert decoded(pieces) == [b'{"a": 1}', b"first\nsecond", b"[DONE]"]


def test_single_bytes_are_a_stream_too() -> None:
    assert decoded([STREAM[i : i + 1] for i in range(len(STREAM))]) == decoded([STREAM])


@pytest.mark.parametrize("piece", [b"x" * 4096, b"data: " + b"x" * 4096 + b"\n"])
def test_an_event_without_an_end_is_bounded(piece: bytes) -> None:
    with pytest.raises(BadAnswer, match="an event is longer than"):
        decoded([piece] * (MAX_EVENT_BYTES // 4096 + 1))


def test_pieces_of_a_transcript_as_openai_sends_them() -> None:
    transcription = Transcription()
    assert transcription.add(b'{"type": "transcript.text.delta", "delta": "Hel", "logprobs": []}')
    assert transcription.add(b'{"type": "transcript.text.delta", "delta": "lo"}')
    assert not transcription.add(b'{"type": "something.new", "delta": "x"}')
    assert (transcription.text, transcription.done) == ("Hello", False)
    assert transcription.add(b'{"type": "transcript.text.done", "text": "Hello."}')
    assert (transcription.text, transcription.done) == ("Hello.", True)


def test_pieces_of_a_transcript_as_vllm_sends_them() -> None:
    transcription = Transcription()
    for text in (" Hel", "lo"):
        event = {"object": "transcription.chunk", "choices": [{"delta": {"content": text}, "finish_reason": None}]}
        assert transcription.add(json.dumps(event).encode())
    assert not transcription.add(b'{"object": "transcription.chunk", "choices": [], "usage": {"total_tokens": 3}}')
    assert transcription.add(b"[DONE]")
    assert (transcription.text, transcription.done) == (" Hello", True)


@pytest.mark.parametrize("event", [b"no JSON", b"[]", b'{"error": {"message": "x"}}', b'{"delta": 3}'])
def test_an_event_that_is_none(event: bytes) -> None:
    with pytest.raises(BadAnswer):
        Transcription().add(event)
