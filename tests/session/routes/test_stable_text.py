"""The stable part of an utterance's text: by example, against a plain retelling, and in a session."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from helpers.handlers import open_handler
from helpers.wire import bursts, encode
from voxgate.protocol.events import Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start, VadOptions
from voxgate.session.routes.stable_text import StableText


def stable(*texts: str) -> list[str]:
    text = StableText()
    return [text.update(one) for one in texts]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a b c"], [""]),
        (["a b c", "a b c"], ["", "a b"]),
        (["a b", "a b c", "a b c d"], ["", "a", "a b"]),
        (["a", "a", "a b"], ["", "", ""]),
        # The last word may be half of one.
        (["good morn", "good morning every", "good morning everybody is"], ["", "", "good"]),
        # A full stop may go away.
        (["hello world.", "hello world. How", "hello world, how are"], ["", "hello", "hello"]),
        (["hello world.", "hello world.", "hello world, how are"], ["", "hello", "hello"]),
        # Two have to agree in a row.
        (["a b c", "x", "a b c", "a b c"], ["", "", "", "a b"]),
        # What is stable stays, whatever comes.
        (["a b c", "a b c", "x y z", "x y z", "a b c d", "a b c d e"], ["", "a b", "a b", "a b", "a b", "a b c"]),
        (["a b c d", "a b c d", "a b", "", "a b c d e f", "a b c d e f"], ["", *["a b c"] * 4, "a b c d e"]),
        # White space is none of its business.
        ([" a  b\tc ", "a b\nc d"], ["", "a b"]),
        ([" ", "\n", ""], ["", "", ""]),
        (["Hello", "hello there you"], ["", ""]),
        # Scripts without spaces, alone and among others.
        (["今天天", "今天天气", "今天天气好"], ["", "今天", "今天天"]),
        (["the 東京 tower", "the 東京 tower is"], ["", "the 東京"]),
        (["𠀀𠀁", "𠀀𠀁𠀂"], ["", "𠀀"]),
        (["안녕 세계", "안녕 세계 여러분"], ["", "안녕"]),
    ],
)
def test_examples(texts, expected):
    assert stable(*texts) == expected


words = st.lists(st.sampled_from(["a", "b", "ab", "b.", "東", "京"]), max_size=6)
spaced = words.map(" ".join)
glued = words.map("".join)


@settings(max_examples=500, deadline=None)
@given(st.lists(spaced | glued | st.text(max_size=12), max_size=12))
def test_it_only_grows_and_is_a_beginning_of_two_interims_in_a_row(texts):
    before, last = "", ""
    for text, after in zip(texts, stable(*texts), strict=True):
        normal = " ".join(text.split())
        assert after.startswith(before)
        if after != before:
            assert normal.startswith(after)
            assert last.startswith(after)
            assert min(len(normal), len(last)) > len(after)  # one more word is agreed on
        before, last = after, normal


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=10))
def test_it_is_what_the_words_say(interims):
    """The same with lists of words, told plainly."""
    settled: list[str] = []
    last: list[str] = []
    expected = []
    for interim in interims:
        # Words that are glued from characters fall apart again.
        interim = [word for word in interim if not set(word) & set("東京")]
        agreed = []
        for new, old in zip(interim, last, strict=False):
            if new != old:
                break
            agreed.append(new)
        agreed = agreed[:-1]
        if agreed[: len(settled)] == settled:
            settled = agreed if len(agreed) > len(settled) else settled
        last = interim
        expected.append(" ".join(settled))
    texts = [" ".join(word for word in interim if not set(word) & set("東京")) for interim in interims]
    assert stable(*texts) == expected


# In a session

S16 = AudioFormat(1, 16_000, 16, False)


class Words:
    """A model that understands one word every 0.25 s of an utterance, and gets the last one wrong."""

    def __init__(self, key: str = "text") -> None:
        self.key = key

    def __call__(self, job):
        words = [f"w{n}" for n in range(len(job.audio) // 4000)]
        return {self.key: " ".join([*words, "uh"])}


def session(start: Start, model, data: bytes, **overrides) -> list[Segment]:
    handled = open_handler("segmented", start, model=model, **overrides)
    for begin in range(0, len(data), 640):
        handled.feed(data[begin : begin + 640])
        handled.answer_all()
    handled.handler.finish()
    handled.answer_all()
    return [event for event in handled.events if isinstance(event, Segment)]


@pytest.mark.parametrize("key", ["text", "transcript", "sentence"])
def test_interims_carry_it_and_finals_do_not(key):
    start = Start(S16, interim_results=True, stability=True, segmentation="manual")
    segments = session(start, Words(key), bytes(2 * 16_000 * 2))
    assert [segment.is_final for segment in segments] == [False] * 4 + [True]
    assert [segment.stable_text for segment in segments] == ["", "w0", "w0 w1 w2", "w0 w1 w2 w3 w4", UNSET]


def test_nobody_who_did_not_ask_gets_it():
    start = Start(S16, interim_results=True, segmentation="manual")
    segments = session(start, Words(), bytes(2 * 16_000 * 2))
    assert {segment.stable_text for segment in segments} == {UNSET}


def test_a_result_without_words_has_none():
    start = Start(S16, interim_results=True, stability=True, segmentation="manual")
    segments = session(start, lambda job: {"count": len(job.audio)}, bytes(2 * 16_000 * 2))
    assert {segment.stable_text for segment in segments} == {UNSET}


def test_each_segment_begins_anew_also_after_a_cut():
    start = Start(S16, interim_results=True, stability=True, segmentation="manual", vad=VadOptions(max_segment_s=1.25))
    segments = session(start, Words(), bytes(2 * 16_000 * 2))
    assert [(segment.is_final, segment.stable_text) for segment in segments] == [
        (False, ""), (False, "w0"), (True, UNSET), (False, ""), (True, UNSET),
    ]  # fmt: skip


def test_each_utterance_begins_anew():
    start = Start(S16, interim_results=True, stability=True)
    data = encode(bursts((0.5, 2.2), (4.0, 5.7), length_s=7.0))
    segments = session(start, Words(), data, **{"vad.prefix_padding_ms": 0})
    told = [segment.stable_text for segment in segments]
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert told[0] == ""
    assert told[1] == "w0"


def test_interim_results_of_a_final_go_on_with_its_own_text():
    """A model that yields: the final of one utterance gives interim results while the next one is open."""
    start = Start(S16, interim_results=True, stability=True, segmentation="manual")
    handled = open_handler("segmented", start, model=Words())
    for _ in range(4):
        handled.feed(bytes(2 * 4000))
        handled.answer_all()
    handled.handler.flush()
    (final,) = handled.jobs
    handled.feed(bytes(2 * 8000))
    call = handled.handler.calls[final]
    interim = handled.handler._segment_of(call, Output.of({"text": "w0 w1 w2"}), is_final=False)
    assert (interim.is_final, interim.stable_text) == (False, "w0 w1")
    handled.answer_all()
    assert [(one.is_final, one.stable_text) for one in handled.events if isinstance(one, Segment)] == [
        (False, ""), (False, "w0"), (True, UNSET), (False, ""),
    ]  # fmt: skip


def test_interims_of_a_finals_call_go_on_where_those_before_ended():
    start = Start(S16, interim_results=True, stability=True, segmentation="manual")
    handled = open_handler("segmented", start, model=Words())
    handled.scheduler.clock = map(float, count()).__next__  # so that no interim waits for its turn
    handled.feed(bytes(32_000))
    handled.answer_all()  # an interim: "w0 w1 w2 w3 uh"
    handled.handler.flush()
    (final,) = handled.jobs
    handled.feed(bytes(32_000))  # the next segment is open, and has an interim
    for text in ("w0 w1 w2 w3", "w0 w1 w2 w3 w4", "w0 w1 w2 w3 w4 w5", "no"):
        final.on_partial(final, Output.of({"text": text}))
    handled.answer_all()
    segments = [event for event in handled.events if isinstance(event, Segment) and event.is_final is False]
    assert [(segment.start_time, segment.stable_text) for segment in segments] == [
        (0, ""), (0, "w0 w1 w2"), (0, "w0 w1 w2"), (0, "w0 w1 w2 w3"), (0, "w0 w1 w2 w3"), (1, ""),
    ]  # fmt: skip


def test_a_cleared_segment_leaves_nothing_to_the_next():
    start = Start(S16, interim_results=True, stability=True, segmentation="manual")
    handled = open_handler("segmented", start, model=Words())
    for _ in range(2):
        for _ in range(2):
            handled.feed(bytes(16_000))
            handled.answer_all()
        handled.handler.clear()
    segments = [event for event in handled.events if isinstance(event, Segment)]
    assert [segment.stable_text for segment in segments] == ["", "w0"] * 2
