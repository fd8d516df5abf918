"""Messages of the Realtime API."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.openai.realtime_requests import (
    Append,
    ClearBuffer,
    Commit,
    InvalidRequest,
    Update,
    parse_realtime,
)

APPEND = "input_audio_buffer.append"


@given(st.binary(max_size=2000))
def test_audio(data):
    text = json.dumps({"type": APPEND, "audio": base64.b64encode(data).decode(), "event_id": "x"})
    assert parse_realtime(text) == Append(data, "x")
    assert parse_realtime(text.replace("/", r"\/")) == Append(data, "x")


def test_the_other_messages():
    assert parse_realtime('{"type":"input_audio_buffer.commit"}') == Commit()
    assert parse_realtime('{"type":"input_audio_buffer.clear","event_id":"a"}') == ClearBuffer("a")
    assert parse_realtime('{"type":"session.update","session":{"a":1},"more":2}') == Update({"a": 1})


@pytest.mark.parametrize(
    ("text", "message", "param", "event_id"),
    [
        ("{", "expected a JSON object, got something else", None, None),
        ("[1]", "expected a JSON object, got something else", None, None),
        ('{"type":"response.create","event_id":"e"}', 'type must be one of .*, got "response.create"', "type", "e"),
        ('{"type":3}', "type must be one of .*, got nothing", "type", None),
        ('{"event_id":"e"}', "type must be one of", "type", "e"),
        (f'{{"type":"{APPEND}","event_id":"e"}}', "Object missing required field audio", None, "e"),
        (f'{{"type":"{APPEND}","audio":"*"}}', "audio: Invalid base64 encoded string", "audio", None),
        (f'{{"type":"{APPEND}","audio":"AAA"}}', "audio: Invalid base64 encoded string", "audio", None),
        (f'{{"type":"{APPEND}","audio":1}}', "audio: Expected bytes, got int", "audio", None),
        ('{"type":"session.update"}', "Object missing required field session", None, None),
    ],
)
def test_what_is_no_message(text, message, param, event_id):
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse_realtime(text)
    assert (caught.value.param, caught.value.event_id) == (param, event_id)


def appended(text):
    return f'{{"type":"{APPEND}","audio":"{text}"}}'


@given(st.one_of(st.text(max_size=100), st.text(max_size=40).map(appended)))
def test_any_text_is_a_message_or_an_error(text):
    with contextlib.suppress(InvalidRequest):
        parse_realtime(text)


def test_an_error_quotes_little():
    with pytest.raises(InvalidRequest) as caught:
        parse_realtime('{"type":"' + "x" * 100_000 + '"}')
    assert len(str(caught.value)) < 400


def test_deep_nesting():
    for text in ("[" * 100_000, '{"type":"session.update","session":' + '{"a":' * 100_000):
        with pytest.raises(InvalidRequest):
            parse_realtime(text)
