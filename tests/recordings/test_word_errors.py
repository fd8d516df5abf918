"""The word error rate against known values, and the laws of a distance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.recordings.word_errors import WordErrors, count_word_errors, words_of

words = st.lists(st.sampled_from("abcd"), max_size=7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ...  — !", []),
        ("Good morning! Did the boat arrive?", ["good", "morning", "did", "the", "boat", "arrive"]),
        ("an ill-disposed man", ["an", "ill", "disposed", "man"]),
        ("Mr. John, Mrs. Dashwood", ["mister", "john", "missus", "dashwood"]),
        ("Don’t say 'no'", ["don't", "say", "no"]),
        ("snake_case ＡＢＣ Straße", ["snake", "case", "abc", "strasse"]),
        ("12 über", ["12", "über"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected


@pytest.mark.parametrize(
    ("reference", "found", "expected"),
    [
        ("", "", WordErrors(0, 0, 0, 0)),
        ("a b c", "a b c", WordErrors(0, 0, 0, 3)),
        ("a b c", "A, b - C!", WordErrors(0, 0, 0, 3)),
        ("a b c", "a x c", WordErrors(1, 0, 0, 3)),
        ("a b c", "a c", WordErrors(0, 1, 0, 3)),
        ("a b c", "a b x c", WordErrors(0, 0, 1, 3)),
        ("a b c", "", WordErrors(0, 3, 0, 3)),
        ("", "a b", WordErrors(0, 0, 2, 0)),
        ("not an ill disposed young man", "not an ill-sposed young man", WordErrors(1, 0, 0, 6)),
        ("the cat sat on the mat", "the cat sit on mat", WordErrors(1, 1, 0, 6)),
        ("a b c d e f g", "x b d e f g h", WordErrors(1, 1, 1, 7)),
        ("a b c", "b c d", WordErrors(0, 1, 1, 3)),
        ("a b", "b c", WordErrors(2, 0, 0, 2)),
    ],
)
def test_errors(reference: str, found: str, expected: WordErrors) -> None:
    assert count_word_errors(reference, found) == expected


def test_rates() -> None:
    assert WordErrors(1, 1, 1, 6).rate == 0.5
    assert WordErrors(0, 0, 0, 0).rate == 0.0
    assert math.isinf(WordErrors(0, 0, 1, 0).rate)
    assert WordErrors(1, 2, 3, 10) + WordErrors(1, 0, 0, 5) == WordErrors(2, 2, 3, 15)


def distance(a: list[str], b: list[str]) -> int:
    """By its definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return distance(a[1:], b[1:])
    return 1 + min(distance(a[1:], b[1:]), distance(a[1:], b), distance(a, b[1:]))


@given(words, words)
def test_it_is_the_edit_distance(reference: list[str], found: list[str]) -> None:
    errors = count_word_errors(reference, found)
    assert errors.total == distance(reference, found)
    assert min(errors) >= 0
    assert errors.reference == len(reference)
    # What is deleted and inserted is the difference of the lengths.
    assert errors.inserted - errors.deleted == len(found) - len(reference)
    assert count_word_errors(found, reference).total == errors.total
