"""Turn detection on the segmented route: by example, and the law that neither the cuts nor the delay of an answer
change an event.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from helpers.handlers import Handled, open_handler
from helpers.judges import Judge
from helpers.wire import bursts, encode
from voxgate.errors import InferenceError
from voxgate.protocol.events import Active, Event, Inactive, Segment, SpeechResumed
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, TurnOptions

RATE = 16_000
S16 = AudioFormat(1, RATE, 16, False)
SETTINGS = {"vad.prefix_padding_ms": 0, "vad.silence_duration_ms": 600, "turn.min_silence_ms": 200}
# Speech to 1.5 s; then silence, or from 1.9 s on more speech.
ENDS = encode(bursts((0.5, 1.5), length_s=4.0))
GOES_ON = encode(bursts((0.5, 1.5), (1.9, 2.5), length_s=4.5))
PAUSE = 2 * 28_400  # bytes: 1.775 s, amid the pause, when the detector was asked
END_S = 1.54  # where the energy detector sees the end
ASKED_S = 1.74


def a_session(data: bytes = ENDS, start: Start | None = None, judge: Judge | None = None, **options: Any) -> Any:
    """Up to the pause: the judge has the question."""
    judge = judge or Judge()
    handled = open_handler("segmented", start or Start(S16), judge=judge, **{**SETTINGS, **options})
    feed(handled, data[:PAUSE])
    return handled, judge


def feed(handled: Handled, data: bytes, size: int = 640) -> None:
    for begin in range(0, len(data), size):
        handled.feed(data[begin : begin + size])


def types(handled: Handled) -> list[str]:
    return [event.type for event in handled.events]


def turns(handled: Handled) -> dict[str, int]:
    return {name: n for name, n in handled.tally.turns.items() if n}


def deadline(handled: Handled) -> Any:
    """The timer of the question."""
    (timer,) = [timer for timer in handled.scheduler.loop.timers if not timer[2].cancelled]
    return timer


def test_a_finished_turn_ends_the_segment_where_it_was_asked_about():
    handled, judge = a_session()
    (question,) = judge.questions
    assert len(question.audio) == round((ASKED_S - 0.5) * RATE)
    assert question.text is None
    handled.answer_all()
    assert types(handled) == ["active"]
    judge.answer(0.5)
    assert types(handled) == ["active", "inactive", "segment"]
    assert handled.events[1].time == END_S
    (final,) = [event for event in handled.events if isinstance(event, Segment)]
    assert (final.is_final, final.end_time) == (True, END_S)
    assert turns(handled) == {"finished": 1}
    assert len(handled.audio) == 1  # The speculative call of this place is that of the final.
    assert handled.handler.pending == 0


@pytest.mark.parametrize(
    ("probability", "outcome", "end_s"),
    [(0.49, "unsure", 0.6), (0.3, "unsure", 0.6), (0.29, "unfinished", 1.5), (None, "failed", 0.6)],
)
def test_otherwise_silence_ends_it(probability, outcome, end_s):
    handled, judge = a_session()
    judge.answer(probability)
    decided: list[float] = []
    for begin in range(PAUSE, len(ENDS), 640):
        handled.feed(ENDS[begin : begin + 640])
        if "inactive" in types(handled):
            decided.append(begin / 2 / RATE)
    assert END_S + end_s <= decided[0] + 0.021 <= END_S + end_s + 0.021 + 0.04
    assert handled.events[1] == Inactive(END_S)
    assert turns(handled) == {outcome: 1}
    assert judge.n_asked == 1


def test_audio_waits_for_the_answer_and_counts_as_backlog():
    handled, judge = a_session(GOES_ON)
    handler = handled.handler
    assert handler.is_waiting
    before_s = handler.backlog_s
    feed(handled, GOES_ON[PAUSE:])
    assert types(handled) == ["active"]
    assert handler.backlog_s == pytest.approx(before_s + (len(GOES_ON) - PAUSE) / 2 / RATE)
    assert handler.pending > 0
    judge.answer(0.9)
    assert types(handled)[:3] == ["active", "inactive", "active"]
    assert judge.n_asked == 2  # in the second pause
    judge.answer(0.9)
    handled.answer_all()
    assert not handler.is_waiting
    assert (handler.pending, handler.backlog_s) == (0, 0)


def test_a_step_in_order_waits_for_the_answer():
    handled, judge = a_session()
    found: list[str] = []
    handled.handler.in_order(lambda: found.extend(types(handled)))
    assert found == []
    judge.answer(0.9)
    assert found == ["active", "inactive"]


def test_a_deadline_leaves_it_to_silence():
    handled, judge = a_session()
    delay_s, expire, _ = deadline(handled)
    assert delay_s == judge.deadline_s
    expire()
    assert (judge.questions, judge.n_cancelled) == ([], 1)
    assert turns(handled) == {"late": 1}
    feed(handled, ENDS[PAUSE:])
    assert types(handled)[:2] == ["active", "inactive"]
    assert judge.n_asked == 1


def test_a_question_that_the_judge_refuses_does_not_hold_the_stream():
    judge = Judge()
    judge.has_room = False
    handled, _ = a_session(judge=judge)
    assert not handled.handler.is_waiting
    assert turns(handled) == {"refused": 1}
    feed(handled, ENDS[PAUSE:])
    assert types(handled)[:2] == ["active", "inactive"]


def test_speech_that_goes_on_asks_again_in_the_next_pause():
    handled, judge = a_session(GOES_ON, Start(S16, turn=TurnOptions()))
    judge.answer(0.3)
    feed(handled, GOES_ON[PAUSE:])
    judge.answer(0.8)
    handled.answer_all()
    finals = [event for event in handled.events if isinstance(event, Segment)]
    assert [final.turn_probability for final in finals] == [0.8]
    assert types(handled) == ["active", "inactive", "segment"]


def test_only_a_client_that_asked_gets_the_probability():
    for start, shown in ((Start(S16), []), (Start(S16, turn=TurnOptions()), [0.75])):
        handled, judge = a_session(start=start)
        judge.answer(0.75)
        handled.answer_all()
        finals = [event for event in handled.events if isinstance(event, Segment)]
        assert [final.turn_probability for final in finals if final.turn_probability] == shown


def test_requests_wait_behind_the_audio_before_them():
    for probability, n_segments in ((0.9, 2), (0.3, 1)):
        handled, judge = a_session(GOES_ON)
        feed(handled, GOES_ON[PAUSE : 2 * 35_200])  # to 2.2 s, amid speech
        handled.handler.flush()
        handled.handler.emit_flushed()
        assert types(handled) == ["active"]
        judge.answer(probability)
        handled.answer_all()
        assert [event.type for event in handled.events if event.type != "segment"] == [
            *(["active", "inactive"] * n_segments),
            "flushed",
        ]
        assert handled.events[-1].type == "flushed"
        assert max(event.time for event in handled.events if isinstance(event, Inactive)) == 2.2


def test_the_end_of_the_session_waits_for_the_answer():
    handled, judge = a_session()
    handled.handler.finish()
    assert types(handled) == ["active"]
    assert handled.handler.pending > 0
    judge.answer(None)
    handled.answer_all()
    assert types(handled) == ["active", "inactive", "segment"]
    assert handled.handler.pending == 0


def test_a_client_that_leaves_takes_its_question_along():
    handled, judge = a_session()
    handled.handler.abandon()
    assert judge.n_cancelled == 1
    assert handled.scheduler.loop.timers[-1][2].cancelled
    assert handled.handler.pending == len(handled.jobs) == 0


def test_clear_waits_for_the_answer_and_then_drops():
    handled, judge = a_session(GOES_ON)
    feed(handled, GOES_ON[PAUSE : 2 * 35_200])
    handled.handler.clear()
    judge.answer(0.3)
    handled.answer_all()
    assert types(handled) == ["active", "inactive"]


# Text


def says(text: str) -> Any:
    return lambda job: {"text": text, "count": len(job.audio)}


def test_a_detector_that_needs_text_waits_for_that_of_exactly_this_audio():
    handled, judge = a_session(judge=Judge(needs_text=True), model=says("So it is."))
    assert judge.questions == []
    assert handled.handler.is_waiting
    handled.answer_all()
    (question,) = judge.questions
    assert question.text == "So it is."
    judge.answer(0.95)
    assert types(handled) == ["active", "inactive", "segment"]
    assert len(handled.audio) == 1


def test_without_speculation_it_gets_the_text_of_the_last_interim():
    judge = Judge(needs_text=True)
    handled = open_handler(
        "segmented",
        Start(S16, interim_results=True),
        judge=judge,
        model=says("So it"),
        **{**SETTINGS, "vad.speculate_ms": 0},
    )
    feed(handled, ENDS[: 2 * 22_000])
    handled.answer_all()
    feed(handled, ENDS[2 * 22_000 : PAUSE])
    assert [question.text for question in judge.questions] == ["So it"]


@pytest.mark.parametrize("model", [lambda job: {"count": 1}, lambda job: InferenceError("no")])
def test_without_text_silence_decides(model):
    handled, judge = a_session(judge=Judge(needs_text=True), model=model)
    handled.answer_all()
    assert judge.n_asked == 0
    assert not handled.handler.is_waiting
    assert turns(handled) == {"no_text": 1}
    feed(handled, ENDS[PAUSE:])
    assert types(handled)[:2] == ["active", "inactive"]


def test_text_of_another_segment_is_not_used():
    judge = Judge(needs_text=True)
    options = {**SETTINGS, "vad.speculate_ms": 0}
    handled = open_handler("segmented", Start(S16, interim_results=True), judge=judge, model=says("One."), **options)
    two = encode(bursts((0.5, 1.5), (2.5, 2.9), length_s=4.0))
    feed(handled, two[: 2 * 22_000])
    handled.answer_all()
    feed(handled, two[2 * 22_000 : PAUSE])
    judge.answer(0.9)
    handled.answer_all()
    feed(handled, two[PAUSE : 2 * 51_000])
    assert judge.questions == []
    assert turns(handled) == {"finished": 1, "no_text": 1}


TWICE = encode(bursts((0.5, 1.5), (1.7, 2.2), length_s=4.0))
AMID_SPEECH, PAUSE_2 = 2 * 30_000, 2 * 39_600  # bytes: 1.875 s, 2.475 s


def a_dropped_call_that_runs() -> Any:
    """A session whose first pause was too short for a question, but not for a speculative call, amid speech again."""
    judge = Judge(needs_text=True)
    model = lambda job: {"text": f"{len(job.audio)}"}  # noqa: E731
    options = {**SETTINGS, "vad.speculate_ms": 100}
    handled = open_handler("segmented", Start(S16), judge=judge, model=model, **options)
    feed(handled, TWICE[: 2 * 26_400])
    handled.scheduler.running.update(handled.jobs)
    feed(handled, TWICE[2 * 26_400 : AMID_SPEECH])
    assert len(handled.jobs) == 1
    return handled, judge


def test_a_call_behind_a_dropped_one_gives_the_text():
    handled, judge = a_dropped_call_that_runs()
    feed(handled, TWICE[AMID_SPEECH:PAUSE_2])
    assert handled.handler.is_waiting
    handled.scheduler.answer()
    assert (len(handled.jobs), judge.questions) == (1, [])
    handled.scheduler.answer()
    assert [question.text for question in judge.questions] == [f"{len(handled.audio[1])}"]
    judge.answer(0.9)
    assert types(handled) == ["active", "inactive", "segment"]
    assert turns(handled) == {"finished": 1}


def test_a_call_that_finds_no_room_behind_a_dropped_one_gives_none():
    handled, _ = a_dropped_call_that_runs()
    feed(handled, TWICE[AMID_SPEECH:PAUSE_2])
    handled.scheduler.room = 0
    handled.scheduler.answer()
    assert not handled.handler.is_waiting
    assert turns(handled) == {"no_text": 1}


def test_a_dropped_call_without_a_successor_is_not_waited_for():
    handled, _ = a_dropped_call_that_runs()
    handled.scheduler.queue_wait_s = 10.0
    feed(handled, TWICE[AMID_SPEECH:PAUSE_2])
    assert not handled.handler.is_waiting
    assert turns(handled) == {"no_text": 1}


def interim_session(data: bytes, stop: int, text: str, **options: Any) -> Any:
    """Without speculation, up to the byte `stop`, with the answers of the model to its interims."""
    judge = Judge(needs_text=True)
    start = Start(S16, interim_results=True, turn=TurnOptions())
    options = {**SETTINGS, "vad.speculate_ms": 0, **options}
    handled = open_handler("segmented", start, judge=judge, model=says(text), **options)
    feed(handled, data[:stop])
    return handled, judge


@pytest.mark.parametrize("is_late", [False, True])
def test_text_from_before_an_earlier_pause_is_not_used(is_late):
    """Also when it comes after that pause."""
    handled, judge = interim_session(GOES_ON, 2 * 22_000, "I want.")
    handled.answer_all()
    feed(handled, GOES_ON[2 * 22_000 : PAUSE])
    assert len(handled.jobs) == 1
    handled.scheduler.running.update(handled.jobs)
    if not is_late:
        handled.answer_all()
    judge.answer(0.4)
    feed(handled, GOES_ON[PAUSE : 2 * 31_500])  # Speech goes on; the next interim is not due yet.
    handled.answer_all()
    feed(handled, GOES_ON[2 * 31_500 : 2 * 44_000])
    assert judge.questions == []
    assert turns(handled) == {"unsure": 1, "no_text": 1}


def test_a_dropped_segment_leaves_nothing_to_the_next():
    """Neither its text nor its probability."""
    handled, judge = interim_session(GOES_ON, 2 * 22_000, "I want.")
    handled.answer_all()
    feed(handled, GOES_ON[2 * 22_000 : PAUSE])
    judge.answer(0.4)
    handled.handler.clear()
    feed(handled, GOES_ON[PAUSE : 2 * 36_000])  # 2.25 s, amid speech
    handled.handler.flush()
    handled.answer_all()
    finals = [event for event in handled.events if isinstance(event, Segment) and event.is_final]
    assert [final.turn_probability for final in finals] == [UNSET]
    feed(handled, GOES_ON[2 * 36_000 : 2 * 44_000])
    assert turns(handled) == {"unsure": 1, "no_text": 1}


# Eager results


EAGER = Start(S16, eager=True, turn=TurnOptions(eager_threshold=0.3))


@pytest.mark.parametrize("is_model_first", [True, False])
@pytest.mark.parametrize(("probability", "is_told"), [(0.29, False), (0.3, True), (None, True)])
def test_eager_results_need_their_own_probability(probability, is_told, is_model_first):
    handled, judge = a_session(start=EAGER)
    if is_model_first:
        handled.answer_all()
        assert types(handled) == ["active"]
        judge.answer(probability)
    else:
        judge.answer(probability)
        handled.answer_all()
    eager = [event for event in handled.events if isinstance(event, Segment)]
    assert [event.eager for event in eager] == [True] * is_told
    if is_told and probability is not None:
        assert eager[0].turn_probability == probability
    feed(handled, ENDS[PAUSE:])
    (final,) = [event for event in handled.events if isinstance(event, Segment) and event.is_final]
    assert all(event.output == final.output for event in eager)


@pytest.mark.parametrize("is_model_first", [True, False])
def test_a_finished_turn_needs_no_eager_result(is_model_first):
    handled, judge = a_session(start=EAGER)
    if is_model_first:
        handled.answer_all()
    judge.answer(0.9)
    handled.answer_all()
    assert [event.is_final for event in handled.events if isinstance(event, Segment)] == [True]


def test_speech_that_goes_on_takes_an_eager_result_back():
    handled, judge = a_session(GOES_ON, EAGER)
    handled.answer_all()
    judge.answer(0.4)
    feed(handled, GOES_ON[PAUSE:])
    assert [event for event in handled.events if isinstance(event, SpeechResumed)] == [SpeechResumed(1.9)]


# Without


@pytest.mark.parametrize(
    ("turn", "segmentation"), [(TurnOptions(enabled=False), "auto"), (None, "manual"), (TurnOptions(), "manual")]
)
def test_a_session_without_questions_is_an_ordinary_one(turn, segmentation):
    judge = Judge()
    start = Start(S16, turn=turn, segmentation=segmentation)
    handled = open_handler("segmented", start, judge=judge, **SETTINGS)
    assert type(handled.handler).__name__ != "TurnHandler"
    assert handled.handler.turn_detector is None
    feed(handled, ENDS)
    assert judge.n_asked == 0


def test_a_question_that_silence_comes_before_is_none():
    handled = open_handler("segmented", Start(S16), judge=Judge(), **{**SETTINGS, "vad.silence_duration_ms": 200})
    assert handled.handler.turn_detector is None


# The law


def believed(n_samples: int) -> float | None:
    """An answer that depends on the audio alone."""
    return (None, 0.02, 0.3, 0.8)[n_samples // 320 % 4]


TALK = [(0.6, 1.2), (1.5, 1.9), (2.3, 2.7), (2.95, 3.3), (3.6, 4.0)]
ONE = bursts(*TALK, length_s=5.5)
TALKS = {1: encode(ONE), 2: encode(np.stack([ONE, np.roll(ONE, 5000)]))}
FLUSHED = 2 * 46_000  # bytes of a channel


def heard(
    channels: int,
    sizes: list[int],
    delays: list[int],
    start: Start,
    judge: Judge | None = None,
    has_text: bool = True,
    request: str = "flush",
    **options: Any,
) -> dict[tuple[int, str], list[Event]]:
    """The events of a session that gets `TALKS`, cut like this; each answer comes so many pieces later."""
    judge = judge or Judge()
    needs_text = judge.needs_text
    handled = open_handler(
        "segmented",
        start,
        judge=judge,
        model=lambda job: {"count": len(job.audio)} | ({"text": f"{len(job.audio)}"} if has_text else {}),
        **{**SETTINGS, "turn.max_silence_ms": 900, **options},
    )

    def answer(index: int = 0) -> None:
        question = judge.questions[index]
        judge.answer(believed(int(question.text) if needs_text else len(question.audio)), index)

    data = TALKS[channels]
    due: list[int] = []
    pauses = itertools.cycle(delays)
    offset, flushed = 0, FLUSHED * channels
    for size in itertools.chain(sizes, itertools.repeat(1 << 20)):
        end = min(offset + size, len(data))
        for begin, stop in ((offset, min(end, flushed)), (max(offset, flushed), end)):
            if begin < stop:
                handled.feed(data[begin:stop])
            if stop == flushed and begin < stop:
                getattr(handled.handler, request)()
        offset = end
        if needs_text:
            handled.answer_all()
        due = [left - 1 for left in due]
        while len(due) < len(judge.questions):
            due.append(next(pauses))
        while due and due[0] <= 0:
            due.pop(0)
            answer()
            while len(due) < len(judge.questions):
                due.append(next(pauses))
        if offset == len(data):
            break
    handled.handler.finish()
    while judge.questions or handled.jobs:
        handled.answer_all()
        while judge.questions:
            answer(-1)
    assert (handled.handler.pending, handled.handler.backlog_s) == (0, 0)
    assert handled.handler.processed_s == handled.handler.received_s
    by_kind: dict[tuple[int, str], list[Event]] = {}
    for event in handled.events:
        by_kind.setdefault((event.channel, event.type), []).append(event)
    return by_kind


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 2),
    st.lists(st.integers(1, 12_000), max_size=60),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([0, 100, 200, 400]),
    st.sampled_from([1.0, 1.3, 30.0]),
)
def test_neither_cuts_nor_delays_change_an_event(channels, sizes, delays, probabilities, speculate_ms, longest_s):
    start = Start(AudioFormat(channels, RATE, 16, False), probabilities=probabilities, turn=TurnOptions())
    options = {"vad.max_segment_s": longest_s}
    events = heard(channels, sizes, delays, start, **options, **{"vad.speculate_ms": speculate_ms})
    expected = heard(channels, [], [0], start, **options, **{"vad.speculate_ms": 0})
    assert events == expected
    assert sum(isinstance(event, Active) for event in events[0, "active"]) >= 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 12_000), max_size=60), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_nor_do_they_when_the_detector_needs_text(sizes, delays):
    """The text is that of a call with the audio up to the pause, whenever it comes."""
    start = Start(S16, turn=TurnOptions())
    events = heard(1, sizes, delays, start, Judge(needs_text=True))
    assert events == heard(1, [], [0], start, Judge(needs_text=True))
    assert len({final.turn_probability for final in events[0, "segment"] if isinstance(final, Segment)}) > 1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 2),
    st.lists(st.integers(1, 60_000), max_size=20),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["flush", "clear"]),
    st.sampled_from([0, 200]),
)
def test_questions_without_an_answer_change_nothing(channels, sizes, needs_text, probabilities, request, speculate_ms):
    """The events are those of a session that asks nothing: whether the judge has no room, or the model no text."""
    start = Start(AudioFormat(channels, RATE, 16, False), probabilities=probabilities, turn=TurnOptions())
    judge = Judge(needs_text)
    judge.has_room = needs_text
    options = {"request": request, "has_text": False, "vad.speculate_ms": speculate_ms}
    events = heard(channels, sizes, [0], start, judge, **options)
    assert judge.n_asked == 0
    assert events == heard(channels, [], [0], replace(start, turn=TurnOptions(enabled=False)), **options)


@pytest.mark.parametrize("request_name", ["flush", "clear", "finish"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_a_request_comes_behind_all_audio_before_it(probabilities, request_name):
    """Also when that has waited, and holds questions that are answered at once."""
    judge = Judge()
    handled = open_handler("segmented", Start(S16, probabilities=probabilities), judge=judge, **SETTINGS)
    feed(handled, TALKS[1][: 2 * 23_360])  # 1.46 s: amid the first of five pauses that are long enough
    handled.handler.feed(TALKS[1][2 * 23_360 :])
    getattr(handled.handler, request_name)()
    judge.has_room = False
    judge.answer(0.4)
    handled.answer_all()
    assert turns(handled) == {"unsure": 1, "refused": 4}
    assert [event for event in handled.events if isinstance(event, Inactive)] == [Inactive(4.04)]
    assert (handled.handler.pending, handled.handler.backlog_s) == (0, 0)
    assert handled.handler.processed_s == handled.handler.received_s == 5.5
