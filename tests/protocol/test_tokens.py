"""What both sides accept as a token."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.protocol.tokens import MAX_TOKEN_BYTES, clean_token


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1), st.text(" \t\r\n", max_size=3))
def test_visible_ascii_is_a_token_without_the_white_space_around_it(token, around):
    assert clean_token(around + token + around) == token


@given(st.text())
def test_an_accepted_token_can_travel_in_a_header(text):
    token = None
    with contextlib.suppress(ValueError):
        token = clean_token(text)
    can_travel = text.strip() and all(0x21 <= ord(character) <= 0x7E for character in text.strip())
    assert token == (text.strip() if can_travel else None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("s3cret日本", "in ASCII"),
        ("s3cret\u200b", "in ASCII"),
        ("s3cret s3cret", "without blanks"),
        ("s3cret\ns3cret", "without blanks"),
        ("s3cret\x00", "without blanks"),
        ("s3cret\x7f", "without blanks"),
        ("s3cret" * MAX_TOKEN_BYTES, f"at most {MAX_TOKEN_BYTES} bytes"),
    ],
)
def test_an_error_never_holds_the_token(text, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        clean_token(text)
    assert "s3cret" not in str(caught.value)


def test_white_space_alone_is_no_token():
    for text in ("", " \n"):
        with pytest.raises(ValueError, match="got white space only"):
            clean_token(text)


def test_the_longest_token_is_accepted():
    assert clean_token("x" * MAX_TOKEN_BYTES) == "x" * MAX_TOKEN_BYTES
