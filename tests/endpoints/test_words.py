"""The words of a segment, with times on the clock of the session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.words import confidence_of, transcript_of, words_of
from voxgate.protocol.events import Segment
from voxgate.protocol.transcript import Transcript, Word


def segment(output, start=10.0, end=12.0):
    return Segment(start, end, True, output)


def test_times_are_those_of_the_session():
    event = segment(
        {"text": "a b", "words": [{"word": " a ", "start": 0.5, "end": 0.75}, {"word": "b", "start": 1, "end": 9}]}
    )
    transcript = transcript_of(event)
    assert transcript.text == "a b"
    assert list(words_of(event, transcript)) == [Word("a", 10.5, 10.75), Word("b", 11.0, 12.0)]


def test_a_text_without_words_is_spread_over_the_segment():
    event = segment({"text": "ab cd"})
    assert list(words_of(event, transcript_of(event))) == [Word("ab", 10.0, 11.0), Word("cd", 11.0, 12.0)]


@pytest.mark.parametrize("output", [{}, {"count": 1}, {"text": None}])
def test_a_result_without_words_is_empty(output):
    assert transcript_of(segment(output)) == Transcript("")
    assert list(words_of(segment(output), Transcript(""))) == []


numbers = st.floats(-5, 50, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers)), st.floats(0, 100), st.floats(-1, 30))
def test_words_are_within_the_segment_and_in_order(spans, start, length):
    event = segment({"words": [{"word": "x", "start": a, "end": b} for a, b in spans]}, start, start + length)
    words = words_of(event, transcript_of(event))
    assert len(words) == len(spans)
    begins = [word.start_s for word in words]
    assert begins == sorted(begins)
    end = start + max(0.0, event.end_time - event.start_time)
    assert all(start <= word.start_s <= word.end_s <= end for word in words)


def test_confidence():
    sure, unsure, unknown = Word("a", 0, 1, 0.9), Word("b", 0, 1, 0.5), Word("c", 0, 1)
    assert confidence_of([sure, unsure, unknown]) == pytest.approx(0.7)
    assert (confidence_of([unknown]), confidence_of([]), confidence_of([Word("a", 0, 1, 7.0)])) == (1.0, 0.0, 1.0)
