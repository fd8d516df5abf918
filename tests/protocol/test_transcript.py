import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgate.protocol.transcript import TEXT_KEYS, Transcript, Word

WORD = {"word": "yes", "start": 0.1, "end": 0.4}


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_the_text_is_the_first_string_among_the_usual_keys(key):
    assert Transcript.of({key: "hello", "language": "en"}) == Transcript("hello")


def test_earlier_keys_come_first_and_other_types_do_not_count():
    assert Transcript.of({"sentence": "c", "transcript": "b", "text": 7}) == Transcript("b")


@pytest.mark.parametrize("output", [{}, {"rms": 0.5}, {"text": None}, {"words": []}, {"words": "yes"}, {"words": [1]}])
def test_a_result_without_text_and_words_has_no_transcript(output):
    assert Transcript.of(output) is None


def test_without_a_text_the_words_are_joined():
    words = [WORD, {"text": " no", "start": 1, "end": 2, "score": 0.5, "speaker": 1}]
    assert Transcript.of({"words": words}) == Transcript(
        "yes no", (Word("yes", 0.1, 0.4), Word(" no", 1.0, 2.0, 0.5, "1"))
    )


@pytest.mark.parametrize("key", ["confidence", "probability", "score"])
def test_the_confidence_has_three_names(key):
    transcript = Transcript.of({"words": [{**WORD, key: 0.75}]})
    assert transcript is not None
    assert transcript.words == (Word("yes", 0.1, 0.4, 0.75),)


@pytest.mark.parametrize(
    "wrong", [{}, {"word": 1}, {"start": None}, {"end": True}, {"start": float("nan")}, {"end": "1"}]
)
def test_words_without_text_or_times_are_left_out(wrong):
    item = {**WORD, **wrong} if wrong else {}
    transcript = Transcript.of({"text": "yes", "words": [item, WORD]})
    assert transcript == Transcript("yes", (Word("yes", 0.1, 0.4),))


def test_a_text_without_words_is_spread_over_its_segment():
    assert Transcript("ab cdef").timed_words(3.0) == [Word("ab", 0.0, 1.0), Word("cdef", 1.0, 3.0)]
    assert Transcript("  ").timed_words(3.0) == []
    words = (Word("ab", 0.5, 0.6),)
    assert Transcript("ab", words).timed_words(3.0) is words


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from([*TEXT_KEYS, "words", "x"]), json_values | st.lists(st.just(WORD) | json_values))
)
def test_any_result_has_a_transcript_or_none(output):
    transcript = Transcript.of(output)
    assert transcript is None or isinstance(transcript.text, str)
