"""What becomes of a call: whatever is refused, expires, is cancelled or fails, results and errors cover all audio.

A real scheduler, whose clock, loop and workers are the test.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers.scheduler_bench import Bench
from helpers.wire import bursts, encode
from voxgate.config import load_config
from voxgate.errors import InferenceError, InternalError, Overloaded
from voxgate.inference.engine.base import BatchLimits, Job, JobOutcome
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes import Route, open_route
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector

RATE = 16_000
DEADLINE_S = 10.0
BUFFERED_S = 2.0
SETTINGS = {
    "inference.deadline_s": DEADLINE_S,
    "inference.per_stream": 2,
    "limits.buffered_audio_s": BUFFERED_S,
    "simple.max_chunk_s": 0.5,
    "simple.min_chunk_ms": 100,
    "vad.silence_duration_ms": 100,
    "vad.prefix_padding_ms": 0,
    "vad.interim_interval_ms": 100,
}
MAX_JOBS = 2
DETECTOR = load_detector("energy")
TALK = bursts(*[(0.2 + 0.6 * k, 0.6 + 0.6 * k) for k in range(20)], length_s=12.5)


class Room(Bench):
    """A session without a socket, and a scheduler whose worker is the test. On the simple and the stateful route, the
    value of a sample is its position.
    """

    def __init__(self, route: Route, n_channels: int = 1, **overrides: Any) -> None:
        super().__init__(max_jobs=MAX_JOBS, deadline_s=DEADLINE_S)
        self.route = route
        self.n_channels = n_channels
        self.fed_frames = 0
        self.events: list[Event] = []
        self.asked: list[Job] = []
        """Every job that was offered to the scheduler, once each, in that order."""
        self.running: list[list[Job]] = []
        self.heard_later: list[Callable[[], None]] = []
        self.is_crowded = False
        """Others leave no room in the queue."""
        config = load_config(environ={}, overrides={**SETTINGS, **overrides})
        service: Any = SimpleNamespace(
            config=config,
            scheduler=self.scheduler,
            vad_batcher=VadBatcher(self.heard_later.append),
            detector=DETECTOR,
            vad=VadConfig(**config.vad.tunables()),
            model=SimpleNamespace(sample_rate=RATE),
            tally=Tally(),
        )
        submit = self.scheduler.submit

        def offered(job: Job) -> None:
            if job.stream is self.runner and job not in self.asked:
                self.asked.append(job)
            if self.is_crowded:
                raise Overloaded("no room")
            submit(job)

        self.scheduler.submit = offered  # type: ignore[method-assign]
        start = Start(AudioFormat(n_channels, RATE, 32, True), interim_results=True)
        self.runner = open_route(route, service, start, self.events.append, lambda: None)

    def feed(self, n_frames: int, is_heard: bool = True) -> None:
        """`is_heard`: what the detector made of it is handed over in the same turn of the loop."""
        begin, end = self.fed_frames, self.fed_frames + n_frames
        self.fed_frames = end
        if self.route == "segmented":
            planes = np.stack([np.resize(np.roll(TALK, 3000 * k), end)[begin:] for k in range(self.n_channels)])
        else:
            planes = np.stack([np.arange(begin, end) + (k << 20) for k in range(self.n_channels)]) / 2**23
        self.runner.feed(encode(planes, "f32"))
        if is_heard:
            self.hear()

    def hear(self) -> None:
        later, self.heard_later[:] = self.heard_later[:], []
        for hear in later:
            hear()

    def flush(self) -> None:
        self.runner.flush()

    def begin(self, max_items: int = 1) -> list[Job]:
        """A worker takes what there is, if there is anything."""
        depths = self.scheduler.depths()
        if depths["final"] + depths["interim"] == 0:
            return []
        work = self.scheduler.take(BatchLimits(max_items))
        assert work is not None
        self.running.append(work.jobs)
        return work.jobs

    def end(self, index: int = 0, error: InferenceError | None = None, says_nothing: bool = False) -> None:
        """A worker returns with an answer that names what it heard."""
        jobs = self.running.pop(index)
        outcomes: list[JobOutcome] = []
        for job in jobs:
            if job.state is not None:
                job.state.opened = True
            if error is not None:
                outcomes.append(error)
            elif job.state is not None and says_nothing:
                outcomes.append(None)
            else:
                first = float(job.audio[0]) if len(job.audio) else None
                outcomes.append(Output.of({"first": first, "count": len(job.audio)}))
        self.scheduler.finish(jobs, outcomes)

    def settle(self) -> None:
        """Everything is over that can be."""
        self.is_crowded = False
        self.hear()
        for _ in range(1000):
            self.loop.turn()
            while self.running:
                self.end()
            if self.begin(8):
                continue
            if not self.loop.ready and not self.runner.pending:
                return
            self.wait(0.05)
        raise AssertionError(f"{self.runner.pending} replies are owed for ever")

    # The laws

    def replies(self, channel: int) -> list[Segment | Error]:
        """What stands for audio of a channel: its finals, and errors in their place."""
        return [
            event
            for event in self.events
            if event.channel == channel
            and (isinstance(event, Error) or (isinstance(event, Segment) and event.is_final is not False))
        ]

    def check_all_is_covered(self) -> None:
        runner = self.runner
        assert (runner.pending, runner.backlog_s, len(runner.calls)) == (0, 0.0, 0)
        assert runner.processed_s == runner.received_s == self.fed_frames / RATE
        assert runner.results + runner.errors == sum(isinstance(event, (Segment, Error)) for event in self.events)
        if self.route == "segmented":
            n_replies = sum(len(self.replies(channel)) for channel in range(self.n_channels))
            assert n_replies == sum(job.final for job in self.asked)
            assert n_replies == sum(isinstance(event, Inactive) for event in self.events)
            for channel in range(self.n_channels):
                ends = [event.time for event in self.events if isinstance(event, Inactive) and event.channel == channel]
                replies = self.replies(channel)
                assert len(replies) == len(ends)
                for reply, end_s in zip(replies, ends, strict=True):
                    assert isinstance(reply, Error) or reply.end_time == end_s
            return
        for channel in range(self.n_channels):
            calls = [job for job in self.asked if len(job.audio) and int(job.audio[0] * 2**23) >> 20 == channel]
            spans = []  # of the calls
            next_pos = 0
            for job in calls:
                assert int(job.audio[0] * 2**23) & 0xFFFFF == next_pos
                spans.append((next_pos, next_pos + len(job.audio)))
                next_pos += len(job.audio)
            assert next_pos == self.fed_frames
            replies = self.replies(channel)
            if self.route == "simple":
                assert len(replies) == len(spans)
                for reply, (start_pos, end_pos) in zip(replies, spans, strict=True):
                    if isinstance(reply, Segment):
                        assert (reply.start_time, reply.end_time) == (start_pos / RATE, end_pos / RATE)
            else:
                self.check_stateful(replies)

    def check_stateful(self, replies: list[Segment | Error]) -> None:
        """Segments follow each other without a gap but where an error stands, and what comes last reaches the end."""
        end_s: float | None = 0.0
        for reply in replies:
            if isinstance(reply, Error):
                end_s = None
                continue
            if end_s is not None:
                assert reply.start_time == end_s
            end_s = reply.end_time
        assert end_s in (None, self.fed_frames / RATE)


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

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(self.route, self.n_channels)
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


for machine in Interleavings.__subclasses__():
    machine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)

TestSimple = OfTheSimpleRoute.TestCase
TestStateful = OfTheStatefulRoute.TestCase
TestSegmented = OfTheSegmentedRoute.TestCase
TestSimpleChannels = OfManySimpleChannels.TestCase
TestStatefulChannels = OfManyStatefulChannels.TestCase
TestSegmentedChannels = OfManySegmentedChannels.TestCase
