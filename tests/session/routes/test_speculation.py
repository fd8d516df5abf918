"""Finals that are asked for early: by example, and the law that nothing changes but the moment at which finals come."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.handlers import Handled, open_handler
from helpers.room import DEADLINE_S, RATE, Room
from helpers.wire import bursts, encode
from voxgate.errors import InferenceError
from voxgate.inference.engine.base import Job
from voxgate.protocol.events import Active, Error, Inactive, Segment, SpeechResumed
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions

S16 = AudioFormat(1, RATE, 16, False)
SETTINGS = {"vad.prefix_padding_ms": 0, "vad.silence_duration_ms": 600, "vad.speculate_ms": 200}
# Speech to 1.5 s; then silence, or from 1.9 s on more speech.
ENDS = encode(bursts((0.5, 1.5), length_s=4.0))
GOES_ON = encode(bursts((0.5, 1.5), (1.9, 2.5), length_s=4.0))
PAUSE = 2 * 28_400  # bytes: 1.775 s, amid the pause, when the speculative call is made


def a_session(data: bytes = ENDS, start: Start | None = None, **options: Any) -> Handled:
    """Up to the pause."""
    model = options.pop("model", None)
    handled = open_handler(
        "segmented", start or Start(S16), **({} if model is None else {"model": model}), **{**SETTINGS, **options}
    )
    feed(handled, data[:PAUSE])
    return handled


def feed(handled: Handled, data: bytes) -> None:
    for begin in range(0, len(data), 640):
        handled.feed(data[begin : begin + 640])


def finals(handled: Handled) -> list[Segment]:
    return [event for event in handled.events if isinstance(event, Segment) and event.is_final]


def speculations(handled: Handled) -> dict[str, int]:
    return {name: n for name, n in handled.tally.speculations.items() if n}


def test_an_answer_that_is_there_is_sent_the_moment_the_segment_ends():
    handled = a_session()
    (job,) = handled.jobs
    assert (job.final, job.speculative) == (True, True)
    audio = weakref.ref(job.audio)
    handled.answer_all()
    handled.audio[0] = n_samples = len(handled.audio[0])
    assert audio() is None  # an answer that waits keeps no audio
    assert [event.type for event in handled.events] == ["active"]
    assert handled.handler.pending == 0
    assert handled.handler.backlog_s == 0
    feed(handled, ENDS[PAUSE:])
    assert [event.type for event in handled.events] == ["active", "inactive", "segment"]
    assert len(handled.audio) == 1  # nothing was asked again
    (final,) = finals(handled)
    assert round((final.end_time - final.start_time) * RATE) == final.output["count"] == n_samples
    assert handled.events[1].time == final.end_time
    assert speculations(handled) == {"made": 1, "used": 1}
    assert (handled.handler.results, handled.handler.pending) == (1, 0)
    assert handled.tally.final_s.count == 1


def test_a_call_that_runs_when_the_segment_ends_becomes_the_final():
    handled = a_session()
    (job,) = handled.jobs
    handled.scheduler.running.add(job)
    feed(handled, ENDS[PAUSE:])
    assert handled.scheduler.promoted == [job]
    assert handled.jobs == [job]
    assert handled.handler.pending == 1
    assert handled.handler.backlog_s == len(job.audio) / RATE
    handled.answer_all()
    assert len(finals(handled)) == 1
    assert (handled.handler.pending, handled.handler.backlog_s) == (0, 0)
    assert speculations(handled) == {"made": 1, "used": 1}


def test_a_call_that_still_waits_when_the_segment_ends_gives_way_to_a_final():
    handled = a_session()
    (early,) = handled.jobs
    feed(handled, ENDS[PAUSE:])
    (job,) = handled.jobs
    assert job is not early
    assert (job.final, job.speculative, early.cancelled) == (True, False, True)
    np.testing.assert_array_equal(job.audio, early.audio)
    handled.answer_all()
    assert len(finals(handled)) == 1
    assert speculations(handled) == {"made": 1, "withdrawn": 1}


def test_a_call_that_failed_is_asked_again():
    outcomes: list[Any] = [InferenceError("not yet"), {"text": "hello"}]
    handled = a_session(model=lambda job: outcomes.pop(0))
    handled.answer_all()
    assert [event.type for event in handled.events] == ["active"]  # nobody is told
    feed(handled, ENDS[PAUSE:])
    (job,) = handled.jobs
    assert not job.speculative
    handled.answer_all()
    assert [final.output for final in finals(handled)] == [{"text": "hello"}]
    assert handled.handler.errors == 0
    assert speculations(handled) == {"made": 1, "wasted": 1}


def test_a_model_that_always_fails_gives_one_error():
    handled = a_session(model=lambda job: InferenceError("no"))
    handled.answer_all()
    feed(handled, ENDS[PAUSE:])
    handled.answer_all()
    assert handled.events[2:] == [Error("no", "inference_failed")]
    assert handled.handler.pending == 0


@pytest.mark.parametrize("is_answered", [False, True])
def test_speech_that_goes_on_drops_it(is_answered):
    handled = a_session(GOES_ON)
    (early,) = handled.jobs
    if is_answered:
        handled.answer_all()
    feed(handled, GOES_ON[PAUSE : 2 * 32_000])
    assert handled.jobs == []
    assert speculations(handled) == {"made": 1, "wasted" if is_answered else "withdrawn": 1}
    feed(handled, GOES_ON[2 * 32_000 :])
    handled.answer_all()
    (final,) = finals(handled)
    assert final.output["count"] > len(early.audio)
    assert speculations(handled)["made"] == 2


def test_one_call_of_a_channel_at_a_time_and_the_next_follows_it():
    handled = a_session(GOES_ON)
    (early,) = handled.jobs
    n_early = len(early.audio)
    handled.scheduler.running.add(early)
    feed(handled, GOES_ON[PAUSE : 2 * 45_000])  # the second pause: 2.5 s and more
    assert handled.jobs == [early]
    handled.scheduler.answer()
    (later,) = handled.jobs
    assert later.speculative
    n_later = len(later.audio)
    assert n_later > n_early
    handled.answer_all()
    feed(handled, GOES_ON[2 * 45_000 :])
    assert [final.output["count"] for final in finals(handled)] == [n_later]
    assert handled.jobs == []
    assert speculations(handled) == {"made": 2, "used": 1, "wasted": 1}


def test_a_dropped_call_that_runs_past_the_end_is_nobodys_final():
    handled = a_session(GOES_ON)
    (early,) = handled.jobs
    handled.scheduler.running.add(early)
    feed(handled, GOES_ON[PAUSE:])
    assert [job.speculative for job in handled.jobs] == [True, False]
    handled.answer_all()
    (final,) = finals(handled)
    assert final.output["count"] > len(early.audio)
    assert speculations(handled) == {"made": 1, "wasted": 1}


def test_none_while_finals_wait_for_the_model():
    for wait_s, n_jobs in ((0.2, 1), (0.201, 0)):
        handled = open_handler("segmented", Start(S16), **SETTINGS)
        handled.scheduler.queue_wait_s = wait_s
        feed(handled, ENDS[:PAUSE])
        assert len(handled.jobs) == n_jobs


def test_none_while_an_earlier_final_of_the_channel_is_due():
    data = encode(bursts((0.5, 1.5), (2.7, 3.5), length_s=6.0))
    for is_answered in (False, True):
        handled = open_handler("segmented", Start(S16), **SETTINGS)
        feed(handled, data[: 2 * 40_000])
        assert [event.type for event in handled.events] == ["active", "inactive"]
        if is_answered:
            handled.answer_all()
        feed(handled, data[2 * 40_000 : 2 * 61_000])
        assert [job.speculative for job in handled.jobs] == ([True] if is_answered else [False])


def test_none_while_the_stream_has_as_many_calls_as_it_may_have():
    start = Start(AudioFormat(2, RATE, 16, False))
    planes = np.stack([bursts((0.5, 1.5), length_s=4.0), bursts((0.5, 2.2), length_s=4.0)])
    for per_stream, n_jobs in ((1, 1), (2, 2)):
        handled = open_handler("segmented", start, **{**SETTINGS, "inference.per_stream": per_stream})
        feed(handled, encode(planes[:, :36_000]))  # the first channel has ended: its final is due
        assert [event.type for event in handled.events] == ["active", "active", "inactive"]
        feed(handled, encode(planes[:, 36_000:40_000]))
        assert len(handled.jobs) == n_jobs


def test_none_while_the_client_does_not_read():
    handled = open_handler("segmented", Start(S16), **SETTINGS)
    handled.handler.may_submit = lambda: False
    feed(handled, ENDS[:PAUSE])
    assert handled.jobs == []


def test_none_when_there_is_no_room_and_the_final_comes_all_the_same():
    handled = open_handler("segmented", Start(S16), **SETTINGS)
    handled.scheduler.room = 0
    feed(handled, ENDS[:PAUSE])
    handled.scheduler.room = 1
    feed(handled, ENDS[PAUSE:])
    handled.answer_all()
    assert len(finals(handled)) == 1
    assert speculations(handled) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"vad.speculate_ms": 0},
        {"vad.speculate_ms": 600},
        {"vad.silence_duration_ms": 200},
        {"vad.suffix_padding_ms": 600},
        {"start": Start(S16, vad=VadOptions(silence_duration_ms=150))},
        {"start": Start(S16, segmentation="manual")},
    ],
)
def test_off(options):
    handled = a_session(**options)
    feed(handled, ENDS[PAUSE:])
    assert speculations(handled) == {}


def test_it_waits_for_the_suffix():
    handled = open_handler("segmented", Start(S16), **{**SETTINGS, "vad.suffix_padding_ms": 400})
    feed(handled, ENDS[:PAUSE])
    assert handled.jobs == []
    feed(handled, ENDS[PAUSE : 2 * 31_500])
    (job,) = handled.jobs
    n_samples = len(job.audio)
    handled.answer_all()
    feed(handled, ENDS[2 * 31_500 :])
    assert len(handled.audio) == 1
    (final,) = finals(handled)
    assert final.output["count"] == n_samples == round((final.end_time - final.start_time) * RATE)


def test_none_when_speech_ends_exactly_where_it_was_cut():
    handled = open_handler("segmented", Start(S16, vad=VadOptions(max_segment_s=1)), **SETTINGS)
    feed(handled, encode(bursts((0.5, 3.5), length_s=4.5)))
    handled.answer_all()
    handled.handler.finish()
    assert [(final.start_time, final.end_time) for final in finals(handled)] == [(0.5, 1.5), (1.5, 2.5), (2.5, 3.5)]
    assert speculations(handled) == {}


def test_audio_that_comes_at_once_is_not_speculated_about():
    """What follows the pause is known already."""
    handled = open_handler("segmented", Start(S16), **SETTINGS)
    handled.feed(GOES_ON)
    handled.handler.finish()
    handled.answer_all()
    assert len(finals(handled)) == 1
    assert speculations(handled) == {}


def test_a_flush_amid_the_pause_takes_the_answer():
    handled = a_session()
    handled.answer_all()
    handled.handler.flush()
    assert len(finals(handled)) == 1
    assert len(handled.audio) == 1


@pytest.mark.parametrize("state", ["queued", "running", "answered"])
def test_clear_and_departure_drop_it(state):
    for leave in ("clear", "abandon"):
        handled = a_session()
        (job,) = handled.jobs
        if state == "running":
            handled.scheduler.running.add(job)
        if state == "answered":
            handled.answer_all()
        getattr(handled.handler, leave)()
        assert job.cancelled == (state == "queued" or (state, leave) == ("running", "abandon"))
        if leave == "clear":
            handled.answer_all()
            feed(handled, ENDS[PAUSE:])
            assert finals(handled) == []
        assert speculations(handled) == {"made": 1, "withdrawn" if state == "queued" else "wasted": 1}


def test_interims_are_the_same():
    start = Start(S16, interim_results=True)
    told = []
    for speculate_ms in (200, 0):
        handled = open_handler("segmented", start, **{**SETTINGS, "vad.speculate_ms": speculate_ms})
        for begin in range(0, len(GOES_ON), 640):
            handled.feed(GOES_ON[begin : begin + 640])
            handled.answer_all()
        told.append(handled.events)
    assert told[0] == told[1]
    assert sum(isinstance(event, Segment) and event.is_final is False for event in told[0]) > 2


# Eager results: the client gets the answer when it is there

EAGER = Start(S16, eager=True, notices=True)


def told(handled: Handled) -> list[tuple[Any, ...]]:
    names = []
    for event in handled.events:
        name = event.type
        if isinstance(event, Segment):
            name = "final" if event.is_final else "eager" if event.eager is True else "interim"
        names.append((name, event.segment_id))
    return names


def test_an_eager_result_comes_at_once_and_the_final_is_equal_to_it():
    handled = a_session(start=EAGER)
    assert told(handled) == [("active", 0)]
    handled.answer_all()
    assert told(handled) == [("active", 0), ("eager", 0)]
    feed(handled, ENDS[PAUSE:])
    assert told(handled) == [("active", 0), ("eager", 0), ("inactive", 0), ("final", 0)]
    eager, _, final = handled.events[1:]
    assert (eager.start_time, eager.end_time, eager.output) == (final.start_time, final.end_time, final.output)
    assert len(handled.audio) == 1
    assert handled.handler.results == 2


def test_speech_that_goes_on_takes_an_eager_result_back():
    handled = a_session(GOES_ON, EAGER)
    handled.answer_all()
    for begin in range(PAUSE, len(GOES_ON), 640):
        handled.feed(GOES_ON[begin : begin + 640])
        handled.answer_all()
    assert told(handled) == [
        ("active", 0), ("eager", 0), ("resumed", 0), ("eager", 0), ("inactive", 0), ("final", 0),
    ]  # fmt: skip
    eager, resumed = handled.events[1:3]
    assert eager.end_time < resumed.time == pytest.approx(1.9, abs=0.03)
    assert handled.events[3].output == handled.events[5].output


def test_what_was_not_told_is_not_taken_back():
    handled = a_session(GOES_ON, EAGER)
    feed(handled, GOES_ON[PAUSE : 2 * 33_000])
    handled.answer_all()
    assert told(handled) == [("active", 0)]
    failing = a_session(GOES_ON, EAGER, model=lambda job: InferenceError("no"))
    failing.answer_all()
    feed(failing, GOES_ON[PAUSE : 2 * 33_000])
    assert told(failing) == [("active", 0)]


def test_an_answer_that_comes_after_the_end_is_only_the_final():
    handled = a_session(start=EAGER)
    handled.scheduler.running.update(handled.jobs)
    feed(handled, ENDS[PAUSE:])
    handled.answer_all()
    assert told(handled) == [("active", 0), ("inactive", 0), ("final", 0)]


def test_an_eager_result_supersedes_the_interim_that_runs():
    handled = open_handler(
        "segmented", Start(S16, eager=True, interim_results=True, stability=True), model=lambda job: {"text": "a b"},
        **SETTINGS,
    )  # fmt: skip
    feed(handled, ENDS[: 2 * 20_000])
    handled.answer_all()
    feed(handled, ENDS[2 * 20_000 : PAUSE])
    interim, early = handled.jobs
    assert (interim.final, early.speculative) == (False, True)
    handled.scheduler.running.update(handled.jobs)
    handled.scheduler.answer(1)
    handled.scheduler.answer(0)
    assert [name for name, _ in told(handled)] == ["active", "interim", "eager"]
    assert [event.stable_text for event in handled.events[1:]] == ["", "a"]
    assert handled.handler.pending == 0


def test_clear_ends_a_segment_with_an_eager_result():
    handled = a_session(start=EAGER)
    handled.answer_all()
    handled.handler.clear()
    feed(handled, ENDS[PAUSE:])
    handled.answer_all()
    assert told(handled) == [("active", 0), ("eager", 0), ("inactive", 0)]


def test_nobody_who_did_not_ask_gets_eager_results():
    handled = a_session(GOES_ON)
    handled.answer_all()
    feed(handled, GOES_ON[PAUSE:])
    handled.answer_all()
    assert [event.type for event in handled.events].count("segment") == 1
    assert "resumed" not in [event.type for event in handled.events]


# On a real scheduler

ROOM = {"vad.silence_duration_ms": 200, "vad.speculate_ms": 60}


def paused() -> tuple[Room, Job]:
    """A session amid the pause after its only utterance, and its speculative job, which a worker has taken."""
    room = Room("segmented", **ROOM)
    room.talk = bursts((0.2, 0.8), length_s=60.0)
    while not (found := [job for job in room.asked if job.speculative]):
        room.feed(320)
    assert room.begin() == found
    return room, found[0]


def to_end(room: Room) -> None:
    while not any(isinstance(event, Inactive) for event in room.events):
        room.feed(320)


def test_its_deadline_begins_when_it_becomes_the_final():
    room, _ = paused()
    room.wait(DEADLINE_S * 0.9)
    to_end(room)
    room.wait(DEADLINE_S * 0.9)
    room.loop.turn()
    assert room.replies(0) == []
    room.wait(DEADLINE_S * 0.1)
    room.loop.turn()
    (error,) = room.replies(0)
    assert isinstance(error, Error)
    room.runner.finish()
    room.settle()
    room.check_all_is_covered()


def test_a_call_that_hangs_is_not_asked_for_until_it_is_needed():
    room, job = paused()
    room.wait(DEADLINE_S * 2)
    room.loop.turn()
    assert job.pending  # it counts as running
    to_end(room)
    room.end()
    room.loop.turn()
    assert isinstance(room.replies(0)[0], Segment)


def test_a_worker_that_dies_early_costs_nothing_and_later_the_final_runs_once_more():
    for is_final in (False, True):
        room, job = paused()
        if is_final:
            to_end(room)
        room.scheduler.requeue(room.running.pop())
        room.loop.turn()
        assert room.replies(0) == []
        to_end(room)
        finals = [one for one in room.asked if one.final]
        assert finals == ([job] if is_final else [job, finals[1]])
        assert room.scheduler.depths()["final"] == 1
        room.settle()
        assert isinstance(room.replies(0)[0], Segment)


def test_a_final_whose_worker_died_while_it_became_one_is_asked_again():
    room, _ = paused()
    room.scheduler.requeue(room.running.pop())  # the loop does not know it yet
    to_end(room)
    assert room.runner.pending == 1
    room.loop.turn()
    assert room.replies(0) == []
    room.settle()
    assert isinstance(room.replies(0)[0], Segment)
    room.runner.finish()
    room.settle()
    room.check_all_is_covered()


def test_a_final_that_is_asked_again_has_interims_like_the_first_time():
    room, job = paused()
    to_end(room)
    job.speculative = True  # as the worker's thread saw it a moment ago
    room.scheduler.requeue(room.running.pop())
    room.loop.turn()
    *_, again = [one for one in room.asked if one.final]
    assert again is not job
    assert again.on_partial == job.on_partial
    assert again.on_partial is not None
    room.settle()
    assert isinstance(room.replies(0)[0], Segment)


def check_eager(room: Room, channel: int) -> None:
    """Each eager result is followed by the equal final, by `resumed`, or by the `inactive` of a clear."""
    eager: Segment | None = None
    events = [event for event in room.events if event.channel == channel]
    finals = {event.start_time: event for event in events if isinstance(event, Segment) and event.is_final}
    for event in events:
        if isinstance(event, Segment) and event.eager is True:
            assert eager is None
            eager = event
        elif isinstance(event, SpeechResumed):
            assert eager is not None
            eager = None
        elif isinstance(event, Inactive) and eager is not None:
            final = finals.get(eager.start_time)
            assert final is None or (final.end_time, final.output) == (eager.end_time, eager.output)
            eager = None
        elif isinstance(event, Segment) and event.is_final is False:
            assert eager is None  # no interim between
    assert eager is None


steps = st.lists(
    st.tuples(st.just("feed"), st.sampled_from([1, 320, 333, 1600, 4000, 9000]))
    | st.tuples(st.just("begin"), st.integers(1, 3))
    | st.sampled_from([("end",), ("turn",), ("flush",), ("clear",), ("wait",)]),
    max_size=80,
)


def play(script: list[tuple[Any, ...]], n_channels: int, speculate_ms: int, eager: bool = False) -> Room:
    room = Room(
        "segmented", n_channels, eager=eager, **{"vad.silence_duration_ms": 200, "vad.speculate_ms": speculate_ms}
    )
    for what, *arguments in script:
        match what:
            case "feed" if room.fed_frames < 8 * RATE:
                room.feed(*arguments)
            case "begin":
                room.begin(*arguments)
            case "end" if room.running:
                room.end()
            case "turn":
                room.loop.turn()
            case "flush" | "clear":
                getattr(room.runner, what)()
            case "wait":
                room.wait(0.05)
    room.runner.finish()
    room.settle()
    return room


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 2), st.sampled_from([20, 60, 120, 180]), st.booleans())
def test_nothing_changes_but_when_finals_come(script, n_channels, speculate_ms, eager):
    """Whatever the workers do and whenever: the same beginnings, ends and finals, with the same results."""
    with_it, without = (play(script, n_channels, ms, eager) for ms in (speculate_ms, 0))
    for channel in range(n_channels):
        check_eager(with_it, channel)
    assert without.n_speculative == 0
    for channel in range(n_channels):
        for kind in (Active, Inactive):
            assert [event for event in with_it.events if type(event) is kind and event.channel == channel] == [
                event for event in without.events if type(event) is kind and event.channel == channel
            ]
        assert with_it.replies(channel) == without.replies(channel)
    assert with_it.runner.pending == 0
    assert with_it.runner.processed_s == without.runner.processed_s


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([160, 320, 640, 1000]), min_size=1, max_size=8), st.sampled_from([20, 60, 120, 180]))
def test_at_live_pace_with_a_model_that_keeps_up_all_events_are_the_same(sizes, speculate_ms):
    """Interims too; and every final but that of the last segment comes with the end."""
    told = []
    for ms in (speculate_ms, 0):
        room = Room("segmented", **{"vad.silence_duration_ms": 200, "vad.speculate_ms": ms})
        while room.fed_frames < 6 * RATE:
            for size in sizes:
                room.feed(size)
                while room.begin():
                    room.end()
                    room.loop.turn()
        room.runner.finish()
        room.settle()
        told.append(room.events)
    assert told[0] == told[1]
