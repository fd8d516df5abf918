"""JSON messages of the APIs of other services."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.json_text import encode, parse
from voxgate.errors import InvalidMessage


def test_there_and_back():
    message = {"type": "x", "words": [], "n": 1.5, "text": "ä\n\u2028"}
    assert parse(encode(message)) == message == json.loads(encode(message))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, '{"a":"\ud800"}'])
def test_messages_that_are_no_object(text):
    with pytest.raises(InvalidMessage, match="message: expected a JSON object with a type"):
        parse(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(InvalidMessage):
        assert isinstance(parse(text), dict)
