"""Texts of a server are written without characters that control a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from voxgate.client.printable import printable


def test_control_characters_and_line_ends_become_spaces() -> None:
    assert printable("a\x1b[31mb\nc\u2028d\u202ee\x9bf") == "a [31mb c d e f"


def test_other_text_is_unchanged() -> None:
    assert printable("Grüße, 日本 😀 a\u0301") == "Grüße, 日本 😀 a\u0301"


@given(st.text())
def test_the_result_is_one_line_of_the_same_length(text: str) -> None:
    found = printable(text)
    assert len(found) == len(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in found)
    assert printable(found) == found
