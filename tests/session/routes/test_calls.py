"""What becomes of a call: whatever is refused, expires, is cancelled or fails, results and errors cover all audio.

A real scheduler, whose clock, loop and workers are the test.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import UNSET

from helpers.handlers import open_handler
from helpers.room import BUFFERED_S, DEADLINE_S, RATE, Room
from helpers.wire import bursts, encode
from voxgate.errors import InferenceError, InternalError, Overloaded
from voxgate.inference.engine.base import Job
from voxgate.protocol.events import Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes import Route

# What an overload leaves behind


@pytest.mark.parametrize("route", ["simple", "stateful", "segmented"])
def test_a_stream_goes_on_after_a_call_that_was_given_up(route: Route) -> None:
    room = Room(route)
    room.is_crowded = True
    room.feed(RATE)
    room.flush()
    room.wait(DEADLINE_S + 1)
    assert any(isinstance(event, Error) and event.code == Overloaded.code for event in room.events)
    room.is_crowded = False
    room.feed(RATE)
    room.flush()
    room.settle()
    assert isinstance(room.replies(0)[-1], Segment)
    room.runner.finish()
    room.settle()
    room.check_all_is_covered()


@pytest.mark.parametrize("route", ["simple", "stateful", "segmented"])
def test_what_is_refused_to_the_end_is_an_error_for_every_call(route: Route) -> None:
    room = Room(route)
    room.is_crowded = True
    for _ in range(3):
        room.feed(RATE // 2)
    room.runner.finish()
    for _ in range(20):
        room.wait(DEADLINE_S + 1)
    assert room.runner.errors == sum(job.final for job in room.asked) > 0
    assert not any(isinstance(event, Segment) for event in room.events)
    room.check_all_is_covered()


@pytest.mark.parametrize("route", ["simple", "stateful", "segmented"])
def test_after_the_scheduler_is_closed_every_call_is_an_error(route: Route) -> None:
    room = Room(route)
    room.feed(RATE)
    room.scheduler.close()
    room.feed(RATE // 2)
    room.runner.finish()
    room.settle()
    assert room.runner.errors == sum(job.final for job in room.asked) > 1
    room.check_all_is_covered()


def test_a_call_that_waited_for_its_own_stream_is_not_given_up_when_it_is_first_refused() -> None:
    room = Room("segmented", **{"inference.per_stream": 1})
    room.feed(RATE * 5 // 2)
    assert len(room.runner.calls) >= 3
    for is_crowded in (False, True):
        room.begin()
        room.wait(DEADLINE_S * 0.6)
        room.is_crowded = is_crowded
        room.end()
        room.loop.turn()
    room.wait(DEADLINE_S * 0.3)  # it was made long before, but so far its stream was served
    room.is_crowded = False
    room.runner.finish()
    room.settle()
    assert room.runner.errors == 0
    room.check_all_is_covered()


def test_a_failure_of_ours_in_an_answer_ends_the_session() -> None:
    """Nothing would be asked of the model again, and its client would wait for ever."""
    room = Room("simple")
    failures: list[bool] = []
    room.runner.on_failure = lambda: failures.append(True)
    room.feed(RATE)

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    room.runner._replies[0]._emit = broken
    room.begin()
    room.end()
    room.loop.turn()
    assert failures == [True]
    assert room.scheduler.counts().callback_failures == 0


# Interims: at most one of a channel is queued or running


class InterimRoom(Room):
    """One long utterance, so that all calls are interims until it is flushed."""

    def __init__(self) -> None:
        super().__init__("segmented", **{"limits.buffered_audio_s": 60})
        self.talk = bursts((0.2, 60.0), length_s=60.0)

    def feed(self, n_frames: int, is_heard: bool = True) -> None:
        begin = self.fed_frames
        self.fed_frames += n_frames
        self.runner.feed(encode(self.talk[begin : self.fed_frames], "f32"))
        if is_heard:
            self.hear()


def test_an_interim_that_a_worker_has_just_taken_runs_whatever_is_noted_about_it() -> None:
    """The clock is read between the taking of a job and the note that it was taken."""
    room = InterimRoom()
    room.feed(RATE)
    (first,) = room.asked
    fed: list[int] = []

    def clock() -> float:
        if not fed and room.scheduler.depths()["interim"] == 0:  # the worker has it
            fed.append(RATE)
            assert first.taken_s == 0
            room.feed(RATE)
        return room.now_s

    room.scheduler._clock = clock
    assert room.begin() == [first]
    assert fed
    assert room.asked == [first]
    room.end()
    room.loop.turn()
    assert [event.type for event in room.events] == ["active", "segment"]
    assert room.scheduler.depths()["interim"] == 1  # the newer one followed it
    assert len(room.asked) == 2


def test_an_interim_that_has_just_been_taken_counts_when_its_segment_ends() -> None:
    room = InterimRoom()
    room.feed(RATE)
    (first,) = room.asked

    def clock() -> float:
        room.scheduler._clock = lambda: room.now_s
        room.runner.flush()
        room.feed(RATE)
        return room.now_s

    room.scheduler._clock = clock
    assert room.begin() == [first]
    assert [job.final for job in room.asked] == [False, True]
    room.end()
    room.loop.turn()
    assert [job.final for job in room.asked] == [False, True, False]
    room.runner.finish()
    room.settle()
    assert [event.is_final for event in room.events if isinstance(event, Segment)] == [True, True]


def test_an_interim_counts_as_running_until_it_returns_also_past_its_deadline() -> None:
    room = InterimRoom()
    room.feed(RATE)
    (first,) = room.begin()
    for _ in range(3):
        room.wait(DEADLINE_S)
        room.loop.turn()
        room.feed(RATE // 2)
        assert room.asked == [first]
    room.runner.flush()  # but the final waits for nobody
    assert [job.final for job in room.asked] == [False, True]
    room.feed(RATE)
    assert len(room.asked) == 2
    room.end()
    room.loop.turn()
    assert [job.final for job in room.asked] == [False, True, False]


def test_an_interim_whose_segment_ended_before_it_could_be_asked_for_is_superseded() -> None:
    """The detector has heard the end, and its audio is gone; what it made of that has not been handed over yet."""
    room = InterimRoom()
    room.talk = bursts((0.2, 1.5), length_s=60.0)
    room.feed(RATE)
    assert len(room.begin()) == 1
    room.feed(RATE // 4)  # a newer interim, which waits for the one that runs
    room.feed(RATE * 4, is_heard=False)
    room.end()
    room.loop.turn()
    room.runner.finish()
    room.settle()
    assert [job.final for job in room.asked] == [False, True]
    assert room.scheduler.counts().callback_failures == 0
    room.check_all_is_covered()


def test_an_interim_that_expires_in_the_queue_makes_room_for_the_next() -> None:
    room = InterimRoom()
    room.feed(RATE)
    room.wait(DEADLINE_S)
    room.feed(RATE)
    room.loop.turn()
    assert len(room.asked) == 2
    assert room.scheduler.depths()["interim"] == 1


# Any interleaving


class Interleavings(RuleBasedStateMachine):
    """Any order of audio, flushes, refusals, expiries, answers, failures and deaths."""

    route: Route
    n_channels = 1
    overrides: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(self.route, self.n_channels, **self.overrides)
        self.finished = False

    @precondition(
        lambda self: not self.finished and self.room.fed_frames < 10 * RATE and self.room.runner.backlog_s < BUFFERED_S
    )
    @rule(n_frames=st.sampled_from([1, 320, 1600, 5000, 16_000]), is_heard=st.booleans())
    def feed(self, n_frames: int, is_heard: bool) -> None:
        self.room.feed(n_frames // self.n_channels or 1, is_heard)

    @rule()
    def hear(self) -> None:
        self.room.hear()

    @precondition(lambda self: not self.finished)
    @rule()
    def flush(self) -> None:
        self.room.runner.flush()

    @precondition(lambda self: not self.finished and self.room.fed_frames)
    @rule()
    def finish(self) -> None:
        self.room.runner.finish()
        self.finished = True

    @rule(is_crowded=st.booleans())
    def crowd(self, is_crowded: bool) -> None:
        self.room.is_crowded = is_crowded

    @rule(max_items=st.integers(1, 3))
    def take(self, max_items: int) -> None:
        self.room.begin(max_items)

    @precondition(lambda self: self.room.running)
    @rule(
        data=st.data(),
        error=st.sampled_from([None, None, InferenceError("no"), InternalError("broken")]),
        says_nothing=st.booleans(),
    )
    def answer(self, data: Any, error: Any, says_nothing: bool) -> None:
        self.room.end(data.draw(st.integers(0, len(self.room.running) - 1)), error, says_nothing)

    @precondition(lambda self: self.room.running)
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        self.room.scheduler.requeue(self.room.running.pop(data.draw(st.integers(0, len(self.room.running) - 1))))

    @rule(seconds=st.sampled_from([0.01, 0.05, 1.0, DEADLINE_S / 2, DEADLINE_S]))
    def wait(self, seconds: float) -> None:
        self.room.wait(seconds)

    @rule()
    def turn(self) -> None:
        self.room.loop.turn()

    @invariant()
    def one_interim_of_a_channel(self) -> None:
        runs = sum(not job.final for jobs in self.room.running for job in jobs)
        assert runs + self.room.scheduler.depths()["interim"] <= self.n_channels

    @invariant()
    def one_speculative_call_of_a_channel(self) -> None:
        runs = sum(job.speculative for jobs in self.room.running for job in jobs)
        assert runs + self.room.scheduler.depths()["speculative"] <= self.n_channels

    @invariant()
    def no_state_is_used_twice_at_once(self) -> None:
        states = [job.state for jobs in self.room.running for job in jobs if job.state is not None]
        assert len({id(state) for state in states}) == len(states)

    @invariant()
    def what_waits_for_no_call_is_too_little_for_one(self) -> None:
        if not self.room.runner.calls and self.route != "segmented":
            assert self.room.runner.backlog_s < 0.1

    def teardown(self) -> None:
        if not self.finished:
            self.room.runner.finish()
        self.room.settle()
        self.room.check_all_is_covered()
        self.room.runner.abandon()
        speculations = dict(self.room.tally.speculations)
        assert speculations.pop("made") == sum(speculations.values())
        assert self.room.scheduler.counts().callback_failures == 0


class OfTheSimpleRoute(Interleavings):
    route = "simple"


class OfTheStatefulRoute(Interleavings):
    route = "stateful"


class OfTheSegmentedRoute(Interleavings):
    route = "segmented"


class OfManySimpleChannels(Interleavings):
    route = "simple"
    n_channels = 3


class OfManyStatefulChannels(Interleavings):
    route = "stateful"
    n_channels = 3


class OfManySegmentedChannels(Interleavings):
    route = "segmented"
    n_channels = 2


class OfSpeculation(Interleavings):
    route = "segmented"
    n_channels = 2
    # Half of the pauses are longer.
    overrides: ClassVar[dict[str, Any]] = {"vad.silence_duration_ms": 200, "vad.speculate_ms": 40}


for machine in Interleavings.__subclasses__():
    machine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)

TestSimple = OfTheSimpleRoute.TestCase
TestStateful = OfTheStatefulRoute.TestCase
TestSegmented = OfTheSegmentedRoute.TestCase
TestSimpleChannels = OfManySimpleChannels.TestCase
TestStatefulChannels = OfManyStatefulChannels.TestCase
TestSegmentedChannels = OfManySegmentedChannels.TestCase
TestSpeculation = OfSpeculation.TestCase


# --- interim results of running calls ---


def talk_room(route: Route, **overrides: Any) -> tuple[Room, list[Job]]:
    """Two calls of one channel run; their replies are in this order."""
    room = Room(route, **overrides)
    jobs: list[Job] = []
    while len(jobs) < 2:
        room.feed(RATE // 2)
        jobs += [job for job in room.begin() if job.final]
    room.events.clear()
    return room, jobs


def said(room: Room) -> list[tuple[Any, Any]]:
    return [(event.is_final, dict(event.output)) for event in room.events if isinstance(event, Segment)]


def test_interim_results_come_only_from_the_call_that_is_first_in_the_order() -> None:
    room, (first, second) = talk_room("simple")
    room.scheduler.partial(second, Output.of({"text": "not yet"}))
    room.scheduler.partial(first, Output.of({"text": "one"}))
    room.loop.turn()
    assert said(room) == [(False, {"text": "one"})]
    (event,) = room.events
    assert isinstance(event, Segment)
    assert (event.start_time, event.end_time) == (0.0, 0.5)
    room.end()
    room.wait(0.1)
    room.loop.turn()
    room.scheduler.partial(second, Output.of({"text": "two"}))
    room.loop.turn()
    room.wait(0.1)
    assert [is_final for is_final, _ in said(room)] == [False, UNSET, False]
    room.end()
    room.loop.turn()
    room.settle()
    assert [is_final for is_final, _ in said(room)] == [False, UNSET, False, UNSET]


def test_a_client_gets_interim_results_at_its_pace_and_not_after_the_result() -> None:
    room, (first, _) = talk_room("simple", **{"inference.interims_per_s": 2.0})
    for n in range(4):
        room.scheduler.partial(first, Output.of({"n": n}))
        room.loop.turn()
    room.wait(0.5)
    assert said(room) == [(False, {"n": 0}), (False, {"n": 3})]
    room.scheduler.partial(first, Output.of({"n": 4}))
    room.loop.turn()
    room.end()
    room.loop.turn()
    room.wait(0.5)
    assert [is_final for is_final, _ in said(room)] == [False, False, UNSET]


def test_the_final_of_a_segment_has_interim_results_with_its_own_place() -> None:
    room, (first, second) = talk_room("segmented")
    assert first.final
    assert second.final
    room.scheduler.partial(first, Output.of({"text": "a"}))
    room.loop.turn()
    (event,) = [event for event in room.events if isinstance(event, Segment)]
    assert (event.is_final, event.output) == (False, {"text": "a"})
    room.settle()
    finals = [event for event in room.events if isinstance(event, Segment) and event.is_final]
    assert (finals[0].start_time, finals[0].end_time) == (event.start_time, event.end_time)


def test_a_client_that_did_not_ask_gets_none_and_a_crowded_one_neither() -> None:
    room, (first, _) = talk_room("simple")
    assert first.on_partial is not None
    room.runner.may_submit = lambda: False
    room.scheduler.partial(first, Output.of({"text": "one"}))
    room.loop.turn()
    assert said(room) == []
    silent = Room("simple", interim_results=False)
    silent.feed(RATE // 2)
    (job,) = silent.begin()
    assert job.on_partial is None


def test_a_superseded_interim_is_not_needed_any_more_though_it_runs() -> None:
    room = Room("segmented")
    interim: Job | None = None
    while interim is None:
        room.feed(RATE // 10)
        interim = next((job for job in room.begin() if not job.final), None)
    assert interim.is_needed
    while not any(isinstance(event, Inactive) for event in room.events):
        room.feed(RATE // 10)
    assert interim.dropped
    assert not interim.is_needed
    room.settle()
    assert not [event for event in room.events if isinstance(event, Segment) and event.is_final is False]


@pytest.mark.parametrize("per_stream", [1, 4])
def test_audio_goes_past_the_session_beside_a_call_once_the_backlog_was_checked(per_stream):
    """Only a new call, or audio that should be in one, makes the backlog larger than the session has seen it."""
    start = Start(AudioFormat(1, RATE, 16, False))
    handled = open_handler("simple", start, **{"inference.per_stream": per_stream})
    handler = handled.handler
    checked: list[int] = []  # the messages that the session was asked about

    def check(data: bytes) -> bool:
        checked.append(n_sent)
        handler.unchecked.clear()
        handler.feed(data)
        return True

    live = handler.listener(
        max_bytes=1 << 16, events=[], clock=time.monotonic, otherwise=check, on_failure=lambda: None
    )
    assert live is not None
    live.is_open = True
    for n_sent in range(15):  # messages of 20 ms, of which five are a group
        assert live(bytes(640)), n_sent
    # The first one is timed. With one call at a time, the second group waits, and each message is checked.
    assert checked == ([0, 5, 10] if per_stream == 4 else [0, 5, 10, 11, 12, 13, 14])
    assert len(handled.jobs) == (3 if per_stream == 4 else 1)
    handled.scheduler.answer()
    assert bool(handler.unchecked)
    handled.answer_all()
    assert not handler.unchecked
    counts = [event.output["count"] for event in handled.events]
    assert counts == ([1600] * 3 if per_stream == 4 else [1600, 3200])


def test_a_reply_that_waits_behind_a_call_is_checked_before_more_audio_is_fed():
    """Each flush has a reply, and `pending` is one of the session's limits."""
    handled = open_handler("simple", Start(AudioFormat(2, RATE, 16, False)))
    handler = handled.handler
    handled.feed(bytes(12800))
    assert len(handled.jobs) == 2
    handler.unchecked.clear()
    handler.emit_flushed()
    assert handler.pending == 4
    assert handler.unchecked
    handled.answer_all()
    assert (handler.pending, len(handler.unchecked)) == (0, 0)
