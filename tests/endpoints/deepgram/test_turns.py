"""Flux's turns: the order of events, pauses, cuts, sessions that follow each other, and the law of the transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from helpers.flux import FluxLaw
from voxgate.endpoints.deepgram.flux_query import Silence, parse_flux
from voxgate.endpoints.deepgram.turns import Turns
from voxgate.protocol.events import Active, Inactive, Segment, SpeechResumed

SILENCE = Silence(usual_ms=600, shortest_ms=300)


def turns(query: str = "eager_eot_threshold=0.5") -> Turns:
    return Turns(parse_flux(f"encoding=linear16&sample_rate=16000&{query}".encode(), silence=SILENCE))


def interim(number: int, start: float, end: float, text: str) -> Segment:
    return Segment(start, end, False, {"text": text}, 0, number)


def eager(number: int, start: float, end: float, text: str) -> Segment:
    return Segment(start, end, False, {"text": text}, 0, number, eager=True)


def final(number: int, start: float, end: float, text: str) -> Segment:
    return Segment(start, end, True, {"text": text}, 0, number)


def short(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["event"], message["transcript"]) for message in messages]


def test_every_field():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(interim(0, 1.0, 1.5, "So"))
    output = {"text": "So, yes!", "words": [{"word": "So,", "start": 0.1, "end": 0.4, "confidence": 0.5}]}
    assert made.segment(Segment(1.0, 2.0, False, output, 0, 0, eager=True)) == (
        {
            "type": "TurnInfo",
            "event": "EagerEndOfTurn",
            "turn_index": 0,
            "audio_window_start": 1.0,
            "audio_window_end": 2.0,
            "transcript": "So, yes!",
            "words": [{"word": "So,", "confidence": 0.5, "start": 1.1, "end": 1.4}],
            "end_of_turn_confidence": 0.5,
        },
    )
    made.speech_ended(Inactive(2.0, 0, 0))
    (ended,) = made.segment(Segment(1.0, 2.0, True, output, 0, 0))
    assert (ended["event"], ended["transcript"], ended["trigger"]) == ("EndOfTurn", "So, yes!", "model")
    assert (ended["turn_index"], ended["end_of_turn_confidence"]) == (0, 0.7)
    (update,) = made.passed(3.0)
    assert (update["event"], update["turn_index"], update["transcript"], update["words"]) == ("Update", 1, "", [])
    assert (update["audio_window_start"], update["audio_window_end"]) == (2.0, 3.0)


def test_a_turn_begins_with_its_first_words():
    made = turns()
    assert made.speech_started(Active(1.0, 0, 0)) == ()
    assert short(made.segment(interim(0, 1.0, 1.5, ""))) == [("Update", "")]
    assert short(made.segment(interim(0, 1.0, 2.0, "One"))) == [("StartOfTurn", "One")]
    assert short(made.segment(interim(0, 1.0, 2.5, "One two"))) == [("Update", "One two")]


def test_speech_without_words_is_no_turn():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    assert made.segment(eager(0, 1.0, 2.0, ""))[0]["event"] == "Update"
    made.speech_ended(Inactive(2.0, 0, 0))
    assert made.segment(final(0, 1.0, 2.0, "")) == ()
    made.speech_started(Active(3.0, 0, 1))
    assert made.segment(interim(1, 3.0, 4.0, "One"))[0]["turn_index"] == 0


def test_a_pause_within_a_turn():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    assert short(made.segment(eager(0, 1.0, 2.0, "One"))) == [("StartOfTurn", "One"), ("EagerEndOfTurn", "One")]
    assert made.segment(interim(0, 1.0, 2.2, "On")) == ()  # says nothing new about a turn that is probably over
    assert short(made.speech_resumed(SpeechResumed(2.5, 0, 0))) == [("TurnResumed", "One")]
    assert short(made.segment(interim(0, 1.0, 3.0, "One two"))) == [("Update", "One two")]
    assert short(made.segment(eager(0, 1.0, 3.5, "One two."))) == [("EagerEndOfTurn", "One two.")]
    made.speech_ended(Inactive(3.5, 0, 0))
    assert short(made.segment(final(0, 1.0, 3.5, "One two."))) == [("EndOfTurn", "One two.")]


def test_an_eager_result_that_comes_when_speech_has_gone_on_is_ignored():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    assert made.speech_resumed(SpeechResumed(2.5, 0, 0)) == ()
    assert made.segment(eager(0, 1.0, 2.0, "One")) == ()


def test_without_a_threshold_nothing_is_eager():
    made = turns("")
    made.speech_started(Active(1.0, 0, 0))
    assert short(made.segment(eager(0, 1.0, 2.0, "One"))) == [("StartOfTurn", "One")]
    assert made.speech_resumed(SpeechResumed(2.5, 0, 0)) == ()


def test_another_transcript_resumes_the_turn_first():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(eager(0, 1.0, 2.0, "One"))
    made.speech_ended(Inactive(2.1, 0, 0))
    assert short(made.segment(final(0, 1.0, 2.1, "One."))) == [("TurnResumed", "One"), ("EndOfTurn", "One.")]


def test_the_next_turn_begins_before_the_final_of_the_one_before():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(eager(0, 1.0, 2.0, "One"))
    made.speech_ended(Inactive(2.0, 0, 0))
    assert made.speech_started(Active(2.7, 0, 1)) == ()
    assert short(made.segment(final(0, 1.0, 2.0, "One"))) == [("EndOfTurn", "One")]
    assert short(made.segment(interim(1, 2.7, 3.0, "Two"))) == [("StartOfTurn", "Two")]


def test_a_cut_does_not_end_the_turn():
    made = turns()
    made.speech_started(Active(0.0, 0, 0))
    assert short(made.segment(final(0, 0.0, 30.0, "One"))) == [("StartOfTurn", "One")]
    assert short(made.segment(interim(1, 30.0, 31.0, "two"))) == [("Update", "One two")]
    made.speech_ended(Inactive(32.0, 0, 1))
    (ended,) = made.segment(final(1, 30.0, 32.0, "two."))
    assert (ended["event"], ended["transcript"], ended["turn_index"]) == ("EndOfTurn", "One two.", 0)
    assert (ended["audio_window_start"], ended["audio_window_end"]) == (0.0, 32.0)
    assert [word["word"] for word in ended["words"]] == ["One", "two."]


def test_speech_that_ends_exactly_at_a_cut():
    made = turns()
    made.speech_started(Active(0.0, 0, 0))
    made.segment(final(0, 0.0, 30.0, "One"))
    assert short(made.speech_ended(Inactive(30.0, 0, 0))) == [("EndOfTurn", "One")]


def test_a_turn_goes_on_in_the_session_that_follows():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(eager(0, 1.0, 2.0, "One"))
    made.begin_restart()
    made.speech_ended(Inactive(2.0, 0, 0))
    assert made.segment(final(0, 1.0, 2.0, "One")) == ()
    assert made.session_finished(2.3) == ()
    made.session_started()
    assert short(made.speech_started(Active(0.2, 0, 0))) == [("TurnResumed", "One")]
    (update,) = made.segment(interim(0, 0.2, 1.0, "two"))
    assert (update["transcript"], update["audio_window_end"]) == ("One two", 3.3)
    assert [word["end"] for word in update["words"]] == [2.0, 3.3]
    made.speech_ended(Inactive(1.0, 0, 0))
    assert short(made.segment(final(0, 0.2, 1.0, "two"))) == [("EndOfTurn", "One two")]


def test_silence_ends_a_turn_whose_session_ended():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(eager(0, 1.0, 2.0, "One"))
    made.begin_restart()
    made.speech_ended(Inactive(2.0, 0, 0))
    made.segment(final(0, 1.0, 2.0, "One"))
    made.session_finished(2.0)
    made.session_started()
    assert short(made.passed(0.5)) == [("Update", "One")]
    assert short(made.passed(0.6)) == [("EndOfTurn", "One")]


def test_a_turn_that_the_client_ends():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.begin_force()
    made.speech_ended(Inactive(2.0, 0, 0))
    made.end_force()
    *_, ended = made.segment(final(0, 1.0, 2.0, "One"))
    assert (ended["event"], ended["trigger"], ended["end_of_turn_confidence"]) == ("EndOfTurn", "manual", 0.0)
    assert made.flushed() == ()


def test_a_failed_segment_ends_its_turn_without_its_words():
    made = turns()
    made.speech_started(Active(1.0, 0, 0))
    made.segment(interim(0, 1.0, 1.5, "One"))
    made.speech_ended(Inactive(2.0, 0, 0))
    assert short(made.failed(0)) == [("EndOfTurn", "")]
    made.speech_started(Active(3.0, 0, 1))
    made.speech_ended(Inactive(4.0, 0, 1))
    assert made.failed(1) == ()  # no word of it was told


def test_updates_come_as_the_audio_does():
    made = turns()
    assert [short(made.passed(time)) for time in (0.25, 0.3, 0.5, 0.5, 0.75)] == [
        [("Update", "")],
        [],
        [("Update", "")],
        [],
        [("Update", "")],
    ]


STEPS = ["interim", "eager", "resumed", "final", "cut", "exact cut", "failed", "late final", "force", "flushed"]
STEPS += ["restart", "passed", "configure"]


@settings(max_examples=300)
@given(st.data())
def test_the_law_holds_and_no_word_is_lost(data):
    """Any order of events that a session can have."""
    made, law = turns(data.draw(st.sampled_from(["", "eager_eot_threshold=0.5"]))), FluxLaw()
    number, now, is_open, n_sent, n_flushes = 0, 0.0, False, 0, 0
    said: list[str] = []
    heard: list[str] = []
    began = 0.0

    def send(messages):
        nonlocal n_sent
        for message in messages:
            law.check([{**message, "sequence_id": n_sent}])
            n_sent += 1
            if message["event"] == "EndOfTurn":
                heard.extend(message["transcript"].split())

    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=40)):
        now += 0.5
        if not is_open and step in ("interim", "eager", "resumed", "final", "cut", "exact cut", "failed", "late final"):
            is_open, began = True, now
            send(made.speech_started(Active(now, 0, number)))
            now += 0.5
        text = data.draw(st.sampled_from(["", f"w{len(said)}", f"w{len(said)} x"]))
        match step:
            case "interim":
                send(made.segment(interim(number, began, now, text)))
            case "eager":
                send(made.segment(eager(number, began, now, text)))
            case "resumed":
                send(made.speech_resumed(SpeechResumed(now, 0, number)))
            case "final" | "late final":
                send(made.speech_ended(Inactive(now, 0, number)))
                if step == "late final":
                    send(made.speech_started(Active(now + 0.1, 0, number + 1)))
                said += text.split()
                send(made.segment(final(number, began, now, text)))
                number, is_open, began = number + 1, step == "late final", now + 0.1
            case "cut" | "exact cut":
                said += text.split()
                send(made.segment(final(number, began, now, text)))
                if step == "exact cut":
                    send(made.speech_ended(Inactive(now, 0, number)))
                number, is_open, began = number + 1, step == "cut", now
            case "failed":
                send(made.speech_ended(Inactive(now, 0, number)))
                send(made.failed(number))
                number, is_open = number + 1, False
            case "force":
                made.begin_force()
                if is_open:
                    send(made.speech_ended(Inactive(now, 0, number)))
                made.end_force()
                if is_open:
                    said += text.split()
                    send(made.segment(final(number, began, now, text)))
                    number, is_open = number + 1, False
                n_flushes += 1
            case "flushed":
                if n_flushes:
                    n_flushes -= 1
                    send(made.flushed())
            case "restart":
                made.begin_restart()
                if is_open:
                    send(made.speech_ended(Inactive(now, 0, number)))
                    said += text.split()
                    send(made.segment(final(number, began, now, text)))
                send(made.session_finished(now))
                made.session_started()
                number, is_open, now = 0, False, 0.0
            case "passed":
                send(made.passed(now))
            case "configure":
                made.flux = made.flux.configured({"thresholds": {"eager_eot_threshold": 0.3}})
    if is_open:
        send(made.speech_ended(Inactive(now, 0, number)))
        said.append("end")
        send(made.segment(final(number, began, now, "end")))
    send(made.session_finished(now))
    assert heard == said


def detected(start: float, end: float, is_eager: bool, probability: float) -> Segment:
    eager_value = True if is_eager else UNSET
    return Segment(start, end, not is_eager, {"text": "So."}, 0, 0, UNSET, eager_value, probability)


def test_the_probability_of_a_turn_detector_is_the_confidence():
    made = turns("eager_eot_threshold=0.5")
    made.speech_started(Active(1.0, 0, 0))
    (_, early) = made.segment(detected(1.0, 2.0, True, 0.55))
    assert (early["event"], early["end_of_turn_confidence"]) == ("EagerEndOfTurn", 0.55)
    made.speech_ended(Inactive(2.0, 0, 0))
    (ended,) = made.segment(detected(1.0, 2.0, False, 0.81))
    assert (ended["event"], ended["trigger"], ended["end_of_turn_confidence"]) == ("EndOfTurn", "model", 0.81)


def test_when_silence_has_decided_the_confidence_is_that_of_silence():
    made = turns("eager_eot_threshold=0.5")
    made.speech_started(Active(1.0, 0, 0))
    assert [message["event"] for message in made.segment(detected(1.0, 2.0, True, 0.49))] == ["StartOfTurn"]
    made.speech_ended(Inactive(2.0, 0, 0))
    (ended,) = made.segment(detected(1.0, 2.0, False, 0.49))
    assert (ended["event"], ended["end_of_turn_confidence"]) == ("EndOfTurn", 0.7)
