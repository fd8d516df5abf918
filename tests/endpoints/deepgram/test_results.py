"""Deepgram's results: the order of events, several channels, flushes, and the ends of utterances."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from voxgate.endpoints.deepgram.query import parse_listen
from voxgate.endpoints.deepgram.results import Results
from voxgate.protocol.events import Active, Inactive, Segment

METADATA = {"request_id": "id"}


def results(query: str = "", channels: int = 1) -> Results:
    raw = f"encoding=linear16&sample_rate=16000&channels={channels}&multichannel=true&{query}"
    return Results(parse_listen(raw.encode(), min_silence_ms=50), METADATA)


def final(number: int, start: float, end: float, text: str = "Yes.", channel: int = 0) -> Segment:
    return Segment(start, end, True, {"text": text}, channel, number)


def interim(number: int, start: float, end: float, text: str = "Yes", channel: int = 0) -> Segment:
    return Segment(start, end, False, {"text": text}, channel, number)


def short(messages: Any) -> list[Any]:
    """Results as (channel, text, is_final, speech_final, from_finalize), others as their type."""
    found: list[Any] = []
    for message in messages:
        if message["type"] == "Results":
            text = message["channel"]["alternatives"][0]["transcript"]
            flags = [message[name] for name in ("is_final", "speech_final", "from_finalize")]
            found.append((message["channel_index"][0], text, *flags))
        else:
            found.append(message["type"])
    return found


def test_every_field_of_a_result():
    made = results(channels=2)
    made.speech_started(Active(1.0, 1, 0))
    made.speech_ended(Inactive(2.0, 1, 0))
    assert made.segment(final(0, 1.0, 2.0, "So, yes!", 1)) == (
        {
            "type": "Results",
            "channel_index": [1, 2],
            "duration": 1.0,
            "start": 1.0,
            "is_final": True,
            "speech_final": True,
            "channel": {
                "alternatives": [
                    {
                        "transcript": "So, yes!",
                        "confidence": 1.0,
                        "words": [
                            {"word": "so", "start": 1.0, "end": 1.429, "confidence": 1.0, "punctuated_word": "So,"},
                            {"word": "yes", "start": 1.429, "end": 2.0, "confidence": 1.0, "punctuated_word": "yes!"},
                        ],
                    }
                ]
            },
            "metadata": METADATA,
            "from_finalize": False,
        },
    )


def test_an_empty_final_has_a_list_of_words():
    (message,) = results().segment(final(0, 1.0, 2.0, ""))
    assert message["channel"]["alternatives"] == [{"transcript": "", "confidence": 0.0, "words": []}]


def test_speakers_are_numbers():
    output = {
        "words": [
            {"word": "a", "start": 0, "end": 1, "speaker": 2},
            {"word": "b", "start": 1, "end": 2, "speaker": "x"},
        ]
    }
    (message,) = results().segment(Segment(0.0, 2.0, True, output, 0, 0))
    assert [word.get("speaker") for word in message["channel"]["alternatives"][0]["words"]] == [2, None]


def test_the_next_segment_begins_before_the_final_of_the_one_before():
    made = results("vad_events=true")
    assert short(made.speech_started(Active(1.0, 0, 0))) == ["SpeechStarted"]
    assert short(made.segment(interim(0, 1.0, 1.5))) == [(0, "Yes", False, False, False)]
    assert short(made.speech_ended(Inactive(2.0, 0, 0))) == []
    assert short(made.speech_started(Active(2.5, 0, 1))) == ["SpeechStarted"]
    assert short(made.segment(final(0, 1.0, 2.0))) == [(0, "Yes.", True, True, False)]
    assert short(made.segment(interim(1, 2.5, 3.0, "No"))) == [(0, "No", False, False, False)]
    made.speech_ended(Inactive(4.0, 0, 1))
    assert short(made.segment(final(1, 2.5, 4.0, "No."))) == [(0, "No.", True, True, False)]


def test_a_segment_that_was_cut_does_not_end_the_speech():
    made = results()
    made.speech_started(Active(0.0, 0, 0))
    assert short(made.segment(final(0, 0.0, 30.0))) == [(0, "Yes.", True, False, False)]
    made.speech_ended(Inactive(31.0, 0, 1))
    assert short(made.segment(final(1, 30.0, 31.0))) == [(0, "Yes.", True, True, False)]


def test_speech_that_ends_exactly_where_its_segment_was_cut():
    made = results()
    made.speech_started(Active(0.0, 0, 0))
    assert short(made.segment(final(0, 0.0, 30.0))) == [(0, "Yes.", True, False, False)]
    assert short(made.speech_ended(Inactive(30.0, 0, 0))) == [(0, "", True, True, False)]


def test_without_endpointing_nothing_ends_the_speech():
    made = results("endpointing=false")
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(1.0, 0, 0))
    assert short(made.segment(final(0, 0.0, 1.0))) == [(0, "Yes.", True, False, False)]


def test_a_flush_is_answered_by_the_last_final_before_it():
    made = results()
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(1.0, 0, 0))
    made.expect_flush()
    assert short(made.segment(final(0, 0.0, 1.0, "One."))) == []
    made.speech_started(Active(1.5, 0, 1))
    made.speech_ended(Inactive(2.0, 0, 1))
    assert short(made.segment(final(1, 1.5, 2.0, "Two."))) == [(0, "One.", True, True, False)]
    assert short(made.flushed(0)) == [(0, "Two.", True, True, True)]


def test_a_flush_of_nothing_is_answered_too():
    made = results(channels=2)
    made.expect_flush()
    made.expect_flush()
    assert [short(made.flushed(channel)) for channel in (0, 1, 0, 1)] == [
        [(0, "", True, False, True)],
        [(1, "", True, False, True)],
        [(0, "", True, False, True)],
        [(1, "", True, False, True)],
    ]


def test_a_final_that_is_held_back_is_not_overtaken():
    made = results()
    made.expect_flush()
    assert short(made.segment(final(0, 0.0, 1.0, "One."))) == []
    assert short(made.segment(interim(1, 1.5, 2.0, "Tw"))) == [
        (0, "One.", True, False, False),
        (0, "Tw", False, False, False),
    ]
    made.segment(final(1, 1.5, 2.0, "Two."))
    assert short(made.rest()) == [(0, "Two.", True, False, False)]
    assert made.rest() == []


def test_an_utterance_ends_when_the_gap_is_long_enough():
    made = results("utterance_end_ms=1500&endpointing=300")
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(2.0, 0, 0))
    assert made.passed(9.0) == []  # its words are not known yet
    made.segment(final(0, 0.0, 2.0))
    assert made.passed(3.4) == []
    assert list(made.passed(3.5)) == [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.0}]
    assert made.passed(9.0) == []


def test_an_utterance_does_not_end_while_speech_goes_on():
    made = results("utterance_end_ms=1000")
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(2.0, 0, 0))
    made.segment(final(0, 0.0, 2.0))
    assert made.speech_started(Active(2.5, 0, 1)) == ()
    assert made.passed(9.0) == []


def test_an_utterance_ends_before_the_next_speech_that_is_far_enough():
    made = results("utterance_end_ms=1000&vad_events=true")
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(2.0, 0, 0))
    made.segment(final(0, 0.0, 2.0))
    assert short(made.speech_started(Active(3.0, 0, 1))) == ["UtteranceEnd", "SpeechStarted"]
    # The same when the final comes only now.
    made.speech_ended(Inactive(4.0, 0, 1))
    made.speech_started(Active(6.0, 0, 2))
    assert short(made.segment(final(1, 3.0, 4.0))) == [(0, "Yes.", True, True, False), "UtteranceEnd"]


def test_a_failed_segment_ends_with_an_empty_result():
    made = results()
    made.speech_started(Active(0.0, 0, 0))
    made.speech_ended(Inactive(1.0, 0, 0))
    assert short(made.failed(0, 0)) == [(0, "", True, True, False)]


@given(st.data())
def test_nothing_is_lost_and_order_holds(data):
    """Any order of events that a session can have: the finals come out in order, and each flush has one answer."""
    n_channels = data.draw(st.integers(1, 2))
    made = results("utterance_end_ms=1000", n_channels)
    said: list[list[str]] = [[] for _ in range(n_channels)]
    ids, flushes, now, out = [0] * n_channels, 0, 0.0, []
    for _ in range(data.draw(st.integers(0, 30))):
        channel, now = data.draw(st.integers(0, n_channels - 1)), now + 1
        match data.draw(st.sampled_from(["final", "cut", "fail", "interim", "ask", "flushed", "passed", "active"])):
            case "final":
                out += made.speech_ended(Inactive(now, channel, ids[channel]))
                text = f"{channel}-{ids[channel]}"
                said[channel].append(text)
                out += made.segment(final(ids[channel], now - 1, now, text, channel))
                ids[channel] += 1
            case "cut":
                text = f"{channel}-{ids[channel]}"
                said[channel].append(text)
                out += made.segment(final(ids[channel], now - 1, now, text, channel))
                ids[channel] += 1
            case "fail":
                out += made.failed(channel, ids[channel])
                ids[channel] += 1
            case "interim":
                out += made.segment(interim(ids[channel], now - 1, now, "i", channel))
            case "ask":
                made.expect_flush()
                flushes += 1
            case "flushed":
                if flushes:
                    flushes -= 1
                    for each in range(n_channels):
                        (answer,) = made.flushed(each)
                        assert answer["from_finalize"]
                        out.append(answer)
            case "passed":
                out += made.passed(now)
            case "active":
                out += made.speech_started(Active(now, channel, ids[channel]))
    out += made.rest()
    for channel in range(n_channels):
        texts = [
            text
            for number, text, is_final, *_ in (line for line in short(out) if not isinstance(line, str))
            if number == channel and is_final and text
        ]
        assert texts == said[channel]
