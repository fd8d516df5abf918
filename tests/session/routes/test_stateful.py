"""The stateful route: one call per channel at a time, nothing lost, replies without a gap, and no state left behind.

The laws are proved without a socket first, then on a real one.
"""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.wire import FLUSH, PAUSE, STOP, Client, encode, of_type, pieces, start, stream
from voxgate import InferenceError, Model
from voxgate.config import load_config
from voxgate.errors import VoxgateError
from voxgate.inference.engine.base import Job, State
from voxgate.inference.engine.invoker import Invoker
from voxgate.models.pitch import Pitch
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Error, Event, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start
from voxgate.session.routes.stateful import StatefulHandler

RATE = 16_000


class Notes:
    """The state of the models below. Unlike a dict, it can be referred to weakly."""

    def __init__(self) -> None:
        self.heard: list[np.ndarray] = []
        self.n_calls = 0


class Listener(Model):
    """Remembers all it hears, per state; what it says is up to the test."""

    def __init__(self, answer: Callable[[Notes], Any] | None = None, closing: Any = None) -> None:
        self.opened: list[weakref.ref[Notes]] = []
        self.finished: list[list[np.ndarray]] = []
        self._answer = answer or (lambda notes: {"calls": notes.n_calls, "count": sum(map(len, notes.heard))})
        self._closing = closing

    def open(self) -> Notes:
        notes = Notes()
        self.opened.append(weakref.ref(notes))
        return notes

    def step(self, audio: np.ndarray, state: Notes) -> Mapping[str, Any] | None:
        state.n_calls += 1
        state.heard.append(audio.copy())
        said = self._answer(state)
        if isinstance(said, Exception):
            raise said
        return said

    def finish(self, state: Notes) -> Mapping[str, Any] | None:
        self.finished.append(state.heard)
        if isinstance(self._closing, Exception):
            raise self._closing
        return self._closing

    @property
    def alive(self) -> int:
        return sum(notes() is not None for notes in self.opened)


class Desk:
    """A scheduler with the engine in it: runs a job when told to, and sees that no state is used twice at once."""

    def __init__(self, model: Model) -> None:
        self.jobs: list[Job] = []
        self.n_run = 0
        self._invoker = Invoker(model)
        self.refusal: VoxgateError | None = None
        self.clock = time.monotonic

    def submit(self, job: Job) -> None:
        assert job.final
        assert job.state is not None
        assert all(other.state is not job.state for other in self.jobs)
        if self.refusal is not None:
            raise self.refusal
        self.jobs.append(job)

    def cancel(self, job: Job) -> bool:
        job.cancelled = True
        if job in self.jobs:
            self.jobs.remove(job)
        return True

    def run(self, index: int = 0) -> Job:
        """Runs a job and answers it."""
        job = self.jobs.pop(index)
        assert job.state is not None
        assert job.request is not None
        outcome = self._invoker.call(job.method, job.audio.copy(), job.state, job.request)
        self.n_run += 1
        if isinstance(outcome, VoxgateError):
            job.error = outcome
        else:
            job.result = outcome
        job.batch_size = 1
        job.on_done(job)
        return job

    def give_up(self) -> State:
        """Answers a job whose call does not return, as the scheduler does when its time is up; gives its state."""
        job = self.jobs.pop(0)
        assert job.state is not None
        job.state.lost = True
        job.error = InferenceError("too late")
        job.on_done(job)
        return job.state


class Session:
    """One session without a socket."""

    def __init__(self, model: Model, channels: int = 1, rate: int = RATE, **settings: Any) -> None:
        self.desk = Desk(model)
        self.events: list[Event] = []
        config = load_config(environ={}, overrides={"simple.min_chunk_ms": 10, **settings})
        service: Any = SimpleNamespace(config=config, scheduler=self.desk, model=model, tally=Tally())
        message = Start(AudioFormat(channels, rate, 32, True))
        self.runner = StatefulHandler(service, message, self.events.append, lambda: None)

    def feed(self, planes: Any) -> None:
        self.runner.feed(encode(np.asarray(planes, np.float32), "f32"))

    def finish(self) -> None:
        self.runner.finish()
        while self.desk.jobs:
            self.desk.run()
        assert self.runner.pending == 0
        assert self.runner.backlog_s == 0

    def said(self, channel: int = 0) -> list[tuple[Any, ...]]:
        """What a channel was told: (start, end, output) or (error text,)."""
        told: list[tuple[Any, ...]] = []
        for event in self.events:
            if event.channel == channel and isinstance(event, Segment):
                told.append((event.start_time, event.end_time, dict(event.output)))
            elif event.channel == channel:
                assert isinstance(event, Error)
                told.append((event.message,))
        return told


def ramp(n_samples: int, first: int = 0) -> np.ndarray:
    """Every sample has its own value."""
    return (np.arange(first, first + n_samples) / 2**20).astype(np.float32)


# The laws, without a socket


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_sample_reaches_its_state_once_and_in_order(data: st.DataObject) -> None:
    """Any cutting, any timing of the calls, any number of channels; some steps say nothing, some fail."""
    channels = data.draw(st.integers(1, 3))
    rate = data.draw(st.sampled_from([RATE, RATE, 8000, 44_100]))
    moods = data.draw(st.lists(st.sampled_from(["answer", "nothing", "refuse", "break"]), min_size=1, max_size=12))
    closing = data.draw(st.sampled_from([None, {"bye": True}, InferenceError("no bye")]))

    def answer(notes: Notes) -> Any:
        mood = moods[(notes.n_calls - 1) % len(moods)]
        return {
            "answer": {"count": len(notes.heard[-1])}, "nothing": None, "refuse": InferenceError("no"),
            "break": ZeroDivisionError(),
        }[mood]  # fmt: skip

    model = Listener(answer, closing)
    per_stream = data.draw(st.integers(1, 4))
    session = Session(model, channels, rate, **{"inference.per_stream": per_stream, "simple.max_chunk_s": 0.1})
    n_frames = 0
    for size in data.draw(st.lists(st.integers(0, 4000), max_size=8)):
        session.feed(np.stack([ramp(size, n_frames) + channel for channel in range(channels)]) / 4)
        n_frames += size
        assert len(session.desk.jobs) <= min(per_stream, channels)
        for _ in range(data.draw(st.integers(0, 3))):
            if session.desk.jobs:
                session.desk.run(data.draw(st.integers(0, len(session.desk.jobs) - 1)))
        if data.draw(st.booleans()):
            session.runner.flush()
    session.finish()

    expected = (2 * n_frames * RATE + rate) // (2 * rate)
    assert len(model.finished) == (channels if expected else 0)
    if rate == RATE and expected:
        for heard in model.finished:
            channel = round(float(heard[0][0]) * 4)
            np.testing.assert_array_equal(np.concatenate(heard), (ramp(expected) + np.float32(channel)) / 4)
    for channel in range(channels):
        said = session.said(channel)
        spans = [entry[:2] for entry in said if len(entry) == 3]
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
        if "refuse" not in moods and "break" not in moods and not isinstance(closing, Exception):
            assert [span[0] for span in spans[1:]] == [span[1] for span in spans[:-1]]
            assert (spans[0][0], spans[-1][1]) == (0.0, expected / RATE) if expected else not spans


def test_what_arrives_during_a_call_goes_into_the_next_one_together() -> None:
    session = Session(Listener())
    for n_samples in (200, 300, 400, 500):
        session.feed(ramp(n_samples))
    assert [len(job.audio) for job in session.desk.jobs] == [200]
    session.desk.run()
    assert [len(job.audio) for job in session.desk.jobs] == [1200]
    session.finish()
    assert session.said() == [
        (0.0, 0.0125, {"calls": 1, "count": 200}),
        (0.0125, 0.0875, {"calls": 2, "count": 1400}),
    ]


def test_calls_are_bounded_below_and_above() -> None:
    session = Session(Listener(), **{"simple.min_chunk_ms": 100, "simple.max_chunk_s": 0.2})
    session.feed(ramp(1599))
    assert session.desk.jobs == []
    session.feed(ramp(1))
    assert [len(session.desk.run().audio)] == [1600]
    session.feed(ramp(1))
    assert session.desk.jobs == []
    session.runner.flush()
    assert len(session.desk.run().audio) == 1
    session.feed(ramp(8000))
    assert [len(session.desk.run().audio) for _ in range(2)] == [3200, 3200]
    session.finish()
    assert session.said()[-1] == (8001 / RATE, 9601 / RATE, {"calls": 5, "count": 9601})


def test_channels_have_their_own_states_and_run_at_once() -> None:
    session = Session(Listener(), channels=3)
    session.feed([ramp(800), ramp(800) + 0.1, ramp(800) + 0.2])
    assert len(session.desk.jobs) == 3
    assert len({id(job.state) for job in session.desk.jobs}) == 3
    session.feed([ramp(800), ramp(800) + 0.1, ramp(800) + 0.2])
    assert len(session.desk.jobs) == 3
    session.desk.run(2)
    assert len(session.desk.jobs) == 3  # that channel alone goes on
    session.finish()
    for channel in range(3):
        assert session.said(channel) == [
            (0.0, 0.05, {"calls": 1, "count": 800}),
            (0.05, 0.1, {"calls": 2, "count": 1600}),
        ]


def test_per_stream_bounds_the_channels_that_run_at_once() -> None:
    session = Session(Listener(), channels=3, **{"inference.per_stream": 2})
    session.feed([ramp(800)] * 3)
    assert len(session.desk.jobs) == 2
    session.finish()
    assert session.desk.n_run == 6  # a step and a finish each


def test_nothing_to_say_adds_the_audio_to_the_next_answer() -> None:
    session = Session(Listener(lambda notes: None if notes.n_calls % 3 else {"calls": notes.n_calls}))
    for _ in range(7):
        session.feed(ramp(1600))
        session.desk.run()
        assert session.runner.backlog_s == 0
        assert session.runner.processed_s == session.runner.received_s
    assert session.said() == [(0.0, 0.3, {"calls": 3}), (0.3, 0.6, {"calls": 6})]
    assert session.runner.results == 2
    session.finish()


@pytest.mark.parametrize(
    ("closing", "expected"),
    [
        (None, (0.2, 0.3, {})),
        ({}, (0.2, 0.3, {})),
        ({"last": "words"}, (0.2, 0.3, {"last": "words"})),
        (InferenceError("no last words"), ("no last words",)),
    ],
)
def test_the_closing_reply_is_about_what_is_unanswered(closing: Any, expected: tuple[Any, ...]) -> None:
    session = Session(Listener(lambda notes: {} if notes.n_calls == 2 else None, closing))
    for _ in range(3):
        session.feed(ramp(1600))
        session.desk.run()
    session.finish()
    assert session.said() == [(0.0, 0.2, {}), expected]


@pytest.mark.parametrize(("closing", "expected"), [(None, []), ({"last": 1}, [(0.1, 0.1, {"last": 1})])])
def test_when_all_is_answered_the_closing_reply_has_no_length_or_is_none(closing: Any, expected: list[Any]) -> None:
    session = Session(Listener(lambda notes: {}, closing))
    session.feed(ramp(1600))
    session.finish()
    assert session.said() == [(0.0, 0.1, {}), *expected]


def test_without_audio_there_is_no_state_and_nothing_to_close() -> None:
    model = Listener(closing={"last": 1})
    session = Session(model)
    session.runner.flush()
    session.finish()
    assert (session.events, model.opened, session.desk.n_run) == ([], [], 0)


def test_an_error_stands_for_all_that_was_unanswered_and_the_state_goes_on() -> None:
    script: dict[int, Any] = {2: None, 3: InferenceError("pardon?"), 5: KeyError("secret")}
    model = Listener(lambda notes: script.get(notes.n_calls, {"calls": notes.n_calls}))
    session = Session(model)
    for _ in range(6):
        session.feed(ramp(1600))
        session.desk.run()
    assert session.said() == [
        (0.0, 0.1, {"calls": 1}), ("pardon?",), (0.3, 0.4, {"calls": 4}), ("Internal server error",),
        (0.5, 0.6, {"calls": 6}),
    ]  # fmt: skip
    assert session.runner.errors == 2
    assert len(model.opened) == 1
    session.finish()


def test_an_open_that_fails_is_tried_again_with_the_next_audio() -> None:
    class Shy(Listener):
        n_opens = 0

        def open(self) -> Notes:
            self.n_opens += 1
            if self.n_opens < 3:
                raise InferenceError(f"not yet {self.n_opens}")
            return super().open()

    model = Shy()
    session = Session(model)
    for _ in range(3):
        session.feed(ramp(1600))
        session.desk.run()
    session.finish()
    assert session.said() == [("not yet 1",), ("not yet 2",), (0.2, 0.3, {"calls": 1, "count": 1600})]
    assert len(model.finished) == 1


def test_a_session_whose_open_always_fails_is_not_closed_by_the_model() -> None:
    class Closed(Listener):
        def open(self) -> Notes:
            raise InferenceError("never")

    session = Session(Closed())
    session.feed(ramp(1600))
    session.finish()
    assert session.said() == [("never",)]


def test_a_call_that_does_not_return_keeps_its_state_and_the_audio_after_it_gets_a_new_one() -> None:
    model = Listener()
    session = Session(model)
    session.feed(ramp(1600))
    session.desk.run()
    session.feed(ramp(1600))
    lost = session.desk.give_up()
    session.feed(ramp(1600))
    assert session.desk.jobs[0].state is not lost
    session.finish()
    assert session.said() == [
        (0.0, 0.1, {"calls": 1, "count": 1600}), ("too late",), (0.2, 0.3, {"calls": 1, "count": 1600})
    ]  # fmt: skip
    assert len(model.opened) == 2


def test_a_call_that_does_not_return_at_the_end_is_not_closed() -> None:
    model = Listener()
    session = Session(model)
    session.feed(ramp(1600))
    session.desk.give_up()
    session.finish()
    assert session.said() == [("too late",)]
    assert model.finished == []


def test_a_state_given_up_in_the_moment_its_call_returned_lives_on() -> None:
    model = Listener()
    session = Session(model)
    session.feed(ramp(1600))
    state = session.desk.jobs[0].state
    assert state is not None
    submit, session.desk.jobs[0].on_done = session.desk.jobs[0].on_done, lambda job: None
    job = session.desk.run()
    state.lost = True
    submit(job)
    session.feed(ramp(1600))
    session.finish()
    assert session.said()[-1] == (0.1, 0.2, {"calls": 2, "count": 3200})
    assert len(model.opened) == 1


def test_a_refused_call_is_an_error_and_the_state_goes_on() -> None:
    model = Listener()
    session = Session(model)
    session.feed(ramp(1600))
    session.desk.run()
    session.desk.refusal = InferenceError("stopping")
    session.feed(ramp(1600))
    session.desk.refusal = None
    session.feed(ramp(1600))
    session.finish()
    assert session.said() == [
        (0.0, 0.1, {"calls": 1, "count": 1600}),
        ("stopping",),
        (0.2, 0.3, {"calls": 2, "count": 3200}),
    ]
    session = Session(model)
    session.feed(ramp(1600))
    session.desk.run()
    session.desk.refusal = InferenceError("stopping")
    session.finish()
    assert session.said()[1:] == [("stopping",)]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed while this lasts was freed by the last reference, not by the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_states_are_freed_when_the_channel_is_closed(no_collector: None) -> None:
    model = Listener(closing={"last": 1})
    session = Session(model, channels=2)
    session.feed([ramp(1600)] * 2)
    while session.desk.n_run < 2:
        session.desk.run()
    assert model.alive == 2
    session.runner.finish()
    session.desk.run()
    assert model.alive == 1  # though the session is still open
    session.desk.run()
    assert model.alive == 0


def test_states_are_freed_when_the_session_is_abandoned(no_collector: None) -> None:
    model = Listener()
    session = Session(model, channels=3)
    session.feed([ramp(1600)] * 3)
    session.desk.run()
    session.desk.run()
    running = session.desk.jobs[0]  # channel 2 is in its call
    running.state.value = model.open()  # type: ignore[union-attr]
    session.feed([ramp(1600)] * 3)
    assert model.alive == 3
    session.runner.abandon()
    assert session.desk.jobs == []
    assert model.alive == 1  # a call which runs keeps its own state, and no other
    runner = weakref.ref(session.runner)
    del session, running
    assert model.alive == 0
    assert runner() is None


# A model that keeps nothing knows nothing of all this; one that does, shows no seam


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 8000), max_size=10), st.integers(0, 3), st.sampled_from([8000, RATE, 48_000]))
def test_the_pitch_of_a_session_is_that_of_the_whole_recording(sizes: list[int], pace: int, rate: int) -> None:
    hz = np.geomspace(110, 220, rate // 2)
    audio = (0.3 * np.sin(2 * np.pi * np.cumsum(hz) / rate)).astype(np.float32)
    whole = Session(Pitch(), rate=rate)
    whole.feed(audio[None])
    whole.finish()
    session = Session(Pitch(), rate=rate)
    for piece in np.split(audio[None], sorted(size % len(audio) for size in sizes), axis=1):
        session.feed(piece)
        for _ in range(min(pace, len(session.desk.jobs))):
            session.desk.run()
    session.finish()
    together, alone = ([hz for _, _, said in s.said() for hz in said["pitch_hz"]] for s in (session, whole))
    assert together == alone
    assert len(together) == 50
    if rate == RATE:
        assert together == Pitch().infer(audio)["pitch_hz"]


# On a real socket

ONE_SECOND = encode(np.zeros((1, RATE)))


def settle(condition: Callable[[], object]) -> None:
    """Waits for what is about to happen on the server's threads."""
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s


def test_all_audio_in_order_and_the_closing_segment(serve):
    model = Listener(closing={"last": "words"})
    samples = (np.arange(3 * RATE) % 30_000).astype("<i2")
    events = stream(serve(model).url("stateful"), start(), *pieces(samples.tobytes(), 999))
    assert {event["type"] for event in events} == {"segment"}
    assert all("is_final" not in event and event["channel"] == 0 for event in events)
    assert [event["start_time"] for event in events] == [0.0, *(event["end_time"] for event in events[:-1])]
    assert events[-1] == {"type": "segment", "start_time": 3.0, "end_time": 3.0, "last": "words", "channel": 0}
    assert [event["calls"] for event in events[:-1]] == list(range(1, len(events)))
    heard = np.concatenate(model.finished[-1])  # the one before it is that of the warm-up
    np.testing.assert_array_equal(heard, samples / np.float32(32768))


def test_one_call_per_channel_at_a_time_and_channels_at_once(serve):
    lock = threading.Lock()
    running: set[int] = set()
    both = threading.Barrier(2, timeout=30)

    def answer(notes: Notes) -> dict[str, int]:
        with lock:
            assert id(notes) not in running
            running.add(id(notes))
        if notes.n_calls == 1:
            both.wait()  # the two channels have to be in here at once
        with lock:
            running.remove(id(notes))
        return {"count": len(notes.heard[-1])}

    server = serve(Listener(answer), **{"inference.threads": 4, "inference.warm_up": False})
    planes = np.stack([np.zeros(RATE), np.full(RATE, 0.5)])
    events = stream(server.url("stateful"), start(channels=2), *pieces(encode(planes), 640))
    for channel in (0, 1):
        mine = [event for event in events if event["channel"] == channel]
        assert of_type(mine, "error") == []
        assert sum(event["count"] for event in mine) == RATE
        assert mine[-1]["end_time"] == 1.0


def test_streams_have_nothing_in_common(serve):
    server = serve(Listener())
    with Client(server.url("stateful")) as one, Client(server.url("stateful")) as other:
        for client in (one, other):
            client.send(start(), ONE_SECOND, PAUSE, ONE_SECOND, STOP)
        counts = [[event["count"] for event in client.rest()] for client in (one, other)]
    for count in counts:
        assert count[-1] == RATE
        assert count.count(RATE) == 2  # each session began with a state of its own


def test_a_start_in_mid_stream_closes_the_session_before_it_first(serve, no_collector):
    model = Listener(closing={"last": True})
    server = serve(model, **{"inference.warm_up": False})
    with Client(server.url("stateful")) as client:
        client.send(start(), ONE_SECOND, start(sample_rate=8000), ONE_SECOND, STOP)
        events = client.rest()
    ends = [index for index, event in enumerate(events) if event.get("last")]
    assert [events[index]["end_time"] for index in ends] == [1.0, 2.0]
    assert ends[1] == len(events) - 1
    assert events[ends[0] + 1]["start_time"] == 0.0
    assert events[ends[0] + 1]["calls"] == 1
    settle(lambda: not model.alive)
    assert len(model.opened) == 2


def test_a_flush_asks_at_once_and_keeps_the_state(serve):
    model = Listener()
    server = serve(model, **{"simple.min_chunk_ms": 1000, "inference.warm_up": False})
    with Client(server.url("stateful")) as client:
        for number in (1, 2):
            client.send(*([start()] if number == 1 else []), ONE_SECOND[:640], FLUSH)
            event = client.receive()
            assert (event["calls"], event["count"], event["end_time"]) == (number, 320 * number, 0.02 * number)
        client.send(STOP)
        assert client.rest() == []
    assert len(model.finished) == 1


def test_a_step_that_fails_is_answered_and_the_stream_goes_on(serve):
    def answer(notes: Notes) -> Any:
        return {2: InferenceError("too much echo"), 3: ZeroDivisionError("secret")}.get(
            notes.n_calls, {"n": notes.n_calls}
        )

    server = serve(Listener(answer), **{"inference.warm_up": False, "simple.max_chunk_s": 0.25})
    events = stream(server.url("stateful"), start(), ONE_SECOND)
    assert events == [
        {"type": "segment", "start_time": 0.0, "end_time": 0.25, "n": 1, "channel": 0},
        {"type": "error", "message": "too much echo", "code": "inference_failed", "channel": 0},
        {"type": "error", "message": "Internal server error", "code": "internal", "channel": 0},
        {"type": "segment", "start_time": 0.75, "end_time": 1.0, "n": 4, "channel": 0},
    ]


@pytest.mark.parametrize("leave", ["disconnect", "error"])
def test_leaving_in_mid_call_frees_the_state_when_the_call_returns(serve, no_collector, leave):
    entered, release = threading.Event(), threading.Event()

    def answer(notes: Notes) -> None:
        entered.set()
        assert release.wait(30)

    model = Listener(answer)
    server = serve(model, **{"inference.threads": 1, "inference.warm_up": False, "limits.message_bytes": 32_000})
    with Client(server.url("stateful")) as client:
        client.send(start(channels=2), ONE_SECOND)
        assert entered.wait(30)
        if leave == "error":
            client.send(bytes(32_001))  # closes with 1009
            client.rest()
            assert client.close_code == 1009
    settle(lambda: not server.service.streams)
    settle(lambda: not server.service.scheduler.depths()["final"])  # what was queued is gone with the client
    assert model.alive == 1
    release.set()
    settle(lambda: not model.alive)
    assert model.finished == []
    assert len(model.opened) == 1


def test_a_call_that_takes_too_long_is_given_up_and_the_stream_goes_on(serve, no_collector):
    release = threading.Event()

    def answer(notes: Notes) -> dict[str, Any]:
        if len(notes.heard[-1]) == 320:
            assert release.wait(30)
        return {"calls": notes.n_calls}

    model = Listener(answer)
    settings = {"inference.threads": 2, "inference.deadline_s": 1, "inference.warm_up": False}
    server = serve(model, **settings)
    with Client(server.url("stateful")) as client:
        client.send(start(), ONE_SECOND[:640], FLUSH)
        late = client.receive()
        assert (late["type"], late["code"]) == ("error", "inference_failed")
        client.send(ONE_SECOND[:6400], FLUSH)
        assert client.receive() == {"type": "segment", "start_time": 0.02, "end_time": 0.22, "calls": 1, "channel": 0}
        client.send(STOP)
        assert client.rest() == []
    assert len(model.opened) == 2
    assert len(model.finished) == 1
    release.set()
    settle(lambda: not model.alive)


def test_the_server_stops_in_the_middle_of_a_session(serve, no_collector):
    entered, release = threading.Event(), threading.Event()

    def answer(notes: Notes) -> dict[str, Any]:
        entered.set()
        assert release.wait(30)
        return {}

    model = Listener(answer)
    server = serve(model, **{"inference.warm_up": False})
    with Client(server.url("stateful")) as client:
        client.send(start(channels=2), ONE_SECOND)
        assert entered.wait(30)
        server.server.should_exit = True
        release.set()
        client.rest()
    server.server.should_exit = True
    server._thread.join(30)
    settle(lambda: not model.alive)


def test_notices_count_what_was_said(serve):
    model = Listener(lambda notes: {"n": 1} if notes.n_calls == 2 else None)
    server = serve(model, **{"simple.max_chunk_s": 0.25, "inference.warm_up": False})
    *_, finished = stream(server.url("stateful"), start(notices=True), ONE_SECOND)
    assert finished == {
        "type": "finished", "received_s": 1.0, "processed_s": 1.0, "results": 2, "errors": 0, "channel": 0,
    }  # fmt: skip


def test_a_fast_sender_is_held_back(serve):
    go, entered = threading.Event(), threading.Event()

    def answer(notes: Notes) -> dict[str, int]:
        entered.set()
        assert go.wait(60)
        return {"count": len(notes.heard[-1])}

    settings = {"limits.buffered_audio_s": 2, "inference.warm_up": False, "simple.max_chunk_s": 5}
    server = serve(Listener(answer), **settings)
    with Client(server.url("stateful")) as client:
        client.send(start())
        sender = threading.Thread(target=lambda: client.send(*pieces(bytes(32_000 * 120), 4096), STOP))
        sender.start()
        assert entered.wait(30)
        sender.join(1)
        assert sender.is_alive(), "two minutes of audio went into a model that stands still"
        go.set()
        assert sum(event["count"] for event in client.rest()) == 120 * RATE
        sender.join(60)
        assert client.close_code == 1000


def test_the_pitch_model_on_all_three_routes(serve):
    time_s = np.arange(2 * RATE) / RATE
    audio = (0.3 * sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 10))).astype(np.float32)
    heard = np.round(audio * 32768).astype("<i2") / np.float32(32768)
    server = serve(Pitch())
    events = stream(server.url("stateful"), start(), *pieces(encode(audio), 640))
    values = [hz for event in events for hz in event["pitch_hz"]]
    assert values == Pitch().infer(heard.astype(np.float32))["pitch_hz"]
    assert len(values) == math.ceil(len(audio) / 160)
    starts = np.cumsum([0, *(len(event["pitch_hz"]) for event in events[:-1])]) / 100
    np.testing.assert_allclose([event["pitch_start_s"] for event in events], starts)
    assert events[0]["start_time"] == 0.0
    assert events[-1]["end_time"] == 2.0
    for route in ("simple", "segmented"):
        medians = [
            event["median_pitch_hz"] for event in of_type(stream(server.url(route), start(), encode(audio)), "segment")
        ]
        assert np.median(medians) == pytest.approx(150, rel=0.01)
