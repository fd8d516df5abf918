"""The rules that never bend: cutting is invisible, nothing is lost, order holds, one stream never harms another."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.handlers import DETECTORS, InstantScheduler, Turns
from helpers.wire import STOP, Client, bursts, encode, pieces, start, story, stream
from helpers.wires import TEXTS, words_of_length
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.config import load_config
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Active, Error, Event, Inactive, Probabilities, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start
from voxgate.recordings import path
from voxgate.session.routes import open_route
from voxgate.session.routes.reorder import ReorderBuffer
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.offline import speech_probabilities


def run(
    route: Any,
    data: bytes,
    cuts: Any,
    start_message: Start,
    detector: str = "energy",
    turn_pieces: int = 1,
    **overrides: Any,
) -> tuple[list[Event], list[np.ndarray]]:
    """One session without a socket: the events in audio order, and every piece of audio the model was given.
    `turn_pieces`: so many come in one turn of the event loop. Without speculation, unless the test wants it: a call
    that is made early and not needed has audio that no result has.
    """
    config = load_config(environ={}, overrides={"vad.speculate_ms": 0, **overrides})
    scheduler, turns = InstantScheduler(), Turns()
    events: list[Event] = []
    service = SimpleNamespace(
        config=config,
        scheduler=scheduler,
        vad_batcher=turns.vad_batcher,
        detector=DETECTORS[detector],
        vad=VadConfig(**config.vad.tunables()),
        model=SimpleNamespace(sample_rate=16_000),
        tally=Tally(),
    )
    runner = open_route(route, service, start_message, events.append, lambda: None)  # type: ignore[arg-type]
    for number, piece in enumerate(cuts(data), 1):
        runner.feed(piece)
        if number % turn_pieces == 0:
            turns.end()
        while scheduler.jobs and len(scheduler.jobs) > 3:
            scheduler.answer()
    runner.finish()
    turns.end()
    while scheduler.jobs:
        scheduler.answer()
    assert runner.pending == 0
    assert runner.backlog_s == 0
    return events, scheduler.audio


def told(events: list[Event]) -> dict[tuple[int, str], list[Event]]:
    kinds = defaultdict(list)
    for event in events:
        kinds[event.channel, event.type].append(event)
    return dict(kinds)


def a_format(rate: int, encoding: str, channels: int) -> Start:
    return Start(AudioFormat(channels, rate, 32 if encoding == "f32" else 16, encoding == "f32"))


SPEECH, SPEECH_RATE = read_audio(path("demo"))
CUTS = {"1 byte": 1, "7 bytes": 7, "256 bytes": 256, "whole": 1 << 30}


@pytest.mark.parametrize("detector", ["energy", "silero"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("encoding", ["s16", "f32"])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_cutting_is_invisible(rate, encoding, channels, detector):
    """The same bytes as 1-byte, 7-byte, 256-byte, 20 ms and whole-file messages: equal events, and the same audio to
    the bit.
    """
    voice = resample(SPEECH[0, : 3 * SPEECH_RATE], SPEECH_RATE, rate)
    planes = np.stack([voice, 0.5 * voice[::-1]])[:channels]
    data = encode(planes, encoding)
    message = a_format(rate, encoding, channels)
    cuts = {**CUTS, "20 ms": rate // 50 * message.format.frame_bytes}
    # A byte at a time costs a microsecond each: the widest format is cut that finely in a shorter piece.
    if len(data) > 1_200_000:
        data = data[: 1_200_000 // 8 * 8]
    outcomes = {
        name: run("segmented", data, lambda data, size=size: pieces(data, size), message, detector)
        for name, size in cuts.items()
    }
    for turn_pieces in (5, 1000):
        outcomes[f"20 ms, {turn_pieces} in a turn"] = run(
            "segmented", data, lambda data: pieces(data, cuts["20 ms"]), message, detector, turn_pieces
        )
    events, audio = outcomes.pop("whole")
    assert any(isinstance(event, Active) for event in events)
    for name, (other_events, other_audio) in outcomes.items():
        assert told(other_events) == told(events), name
        assert sorted(a.tobytes() for a in other_audio) == sorted(a.tobytes() for a in audio), name


def cut_into(sizes):
    """The last piece is what they leave."""

    def cuts(data):
        offset = 0
        for size in itertools.chain(sizes, [len(data)]):
            yield data[offset : offset + size]
            offset += size

    return cuts


TALK = encode(bursts((0.6, 1.2), (2.1, 2.7), length_s=3.5))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60_000), max_size=30), st.sampled_from(["segmented", "simple"]))
def test_any_cutting_gives_the_same(sizes, route):
    message = a_format(16_000, "s16", 1)
    events, audio = run(route, TALK, cut_into(sizes), message)
    expected, expected_audio = run(route, TALK, lambda data: [data], message)
    if route == "segmented":
        assert told(events) == told(expected)
    # On the simple route calls are what has arrived: the groups differ, the samples do not.
    np.testing.assert_array_equal(np.concatenate(audio), np.concatenate(expected_audio))


PAUSES = encode(bursts((0.6, 1.2), (1.5, 1.9), (2.3, 2.7), (3.6, 4.0), length_s=5.0))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 12_000), max_size=60),
    st.sampled_from([1, 100, 200, 400, 599]),
    st.integers(0, 400),
    st.sampled_from([1.0, 1.3, 30.0]),
)
def test_with_and_without_speculation_the_events_are_the_same(sizes, speculate_ms, suffix_ms, longest_s):
    """All but the moment at which finals come, however the audio is cut."""

    message = a_format(16_000, "s16", 1)
    settings = {"vad.suffix_padding_ms": suffix_ms, "vad.max_segment_s": longest_s}
    events, audio = run("segmented", PAUSES, cut_into(sizes), message, **settings, **{"vad.speculate_ms": speculate_ms})
    expected, expected_audio = run("segmented", PAUSES, cut_into(sizes), message, **settings)
    assert told(events) == told(expected)
    # The model gets the audio of every final, and perhaps some that were not needed.
    given = [one.tobytes() for one in audio]
    for one in expected_audio:
        given.remove(one.tobytes())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60_000), max_size=30), st.integers(1, 2))
def test_any_cutting_gives_the_same_probabilities(sizes, channels):
    plain = a_format(16_000, "s16", channels)
    asked = Start(plain.format, interim_results=True, probabilities=True)
    events, _ = run("segmented", TALK, cut_into(sizes), asked)
    whole, whole_audio = run("segmented", TALK, lambda data: [data], asked)
    assert [event for event in events if isinstance(event, Probabilities)] == [
        event for event in whole if isinstance(event, Probabilities)
    ]
    # And asking changes nothing else.
    expected, expected_audio = run("segmented", TALK, lambda data: [data], Start(plain.format, interim_results=True))
    assert [event for event in whole if not isinstance(event, Probabilities)] == expected
    assert [one.tobytes() for one in whole_audio] == [one.tobytes() for one in expected_audio]


@pytest.mark.parametrize("name", ["demo", "stereo"])
@pytest.mark.parametrize("loudness", [1, 30])
def test_probabilities_are_those_the_detector_gave(name, loudness):
    planes, rate = read_audio(path(name))
    planes = np.ascontiguousarray(loudness * planes[:, : 4 * rate + 1234])
    if loudness > 1:  # much is clipped, and some is no number
        planes[:, rate : rate + 100] = np.nan
        planes[:, 2 * rate : 2 * rate + 100] = np.inf
    message = Start(AudioFormat(len(planes), rate, 32, True), probabilities=True)
    events, _ = run("segmented", encode(planes, "f32"), lambda data: [data], message, "silero")
    for channel in range(len(planes)):
        mine = [event for event in events if isinstance(event, Probabilities) and event.channel == channel]
        for sooner, later in itertools.pairwise(mine):
            assert later.start_time == pytest.approx(sooner.start_time + len(sooner.values) * sooner.step_s)
            assert len(sooner.values) == 4
        assert mine[0].start_time == 0
        assert {event.step_s for event in mine} == {0.032}
        heard = np.concatenate([event.values for event in mine])
        expected = speech_probabilities(planes[channel], rate)
        assert len(heard) == len(expected)
        np.testing.assert_allclose(heard, expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5000), st.integers(1, 3), st.sampled_from([8000, 11_025, 16_000, 44_100, 48_000]))
def test_simple_loses_no_sample(n_frames, channels, rate):
    rng = np.random.default_rng(n_frames)
    data = encode(rng.uniform(-0.5, 0.5, (channels, n_frames)), "f32")
    events, audio = run("simple", data, lambda data: pieces(data, 999), a_format(rate, "f32", channels))
    expected = (2 * n_frames * 16_000 + rate) // (2 * rate)
    for channel in range(channels):
        segments = [event for event in events if event.channel == channel]
        assert sum(event.output["count"] for event in segments) == expected
        ends = [0.0, *(event.end_time for event in segments)]
        assert [event.start_time for event in segments] == ends[:-1]
    assert sum(map(len, audio)) == channels * expected


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_replies_leave_in_the_order_of_their_places(data):
    sent: list[Any] = []
    replies = ReorderBuffer(sent.append)
    places = [replies.reserve() for _ in range(data.draw(st.integers(1, 12)))]
    dropped = data.draw(st.sets(st.sampled_from(range(len(places)))))
    for n_settled, index in enumerate(data.draw(st.permutations(range(len(places)))), start=1):
        replies.settle(places[index], None if index in dropped else Error(str(index)))
        settled = [place.is_settled for place in places]
        ready = settled.index(False) if False in settled else len(settled)
        assert [int(event.message) for event in sent] == [i for i in range(ready) if i not in dropped], n_settled


def test_a_final_takes_the_place_of_its_interim():
    config = load_config(environ={})
    scheduler = InstantScheduler()
    events: list[Event] = []
    turns = Turns()
    service: Any = SimpleNamespace(
        config=config,
        scheduler=scheduler,
        vad_batcher=turns.vad_batcher,
        detector=DETECTORS["energy"],
        vad=VadConfig(),
        model=None,
        tally=Tally(),
    )
    message = Start(AudioFormat(1, 16_000, 16, False), interim_results=True)
    runner = open_route("segmented", service, message, events.append, lambda: None)
    data = encode(bursts((0.5, 3.0), length_s=5.0))

    runner.feed(data[: 2 * 16_000])
    turns.end()
    (first,) = scheduler.jobs
    assert not first.final
    runner.feed(data[2 * 16_000 : 3 * 16_000])
    turns.end()
    (second,) = scheduler.jobs  # the first still waited: it is replaced
    assert first.cancelled
    assert len(second.audio) > len(first.audio)
    scheduler.running.add(second)
    runner.feed(data[3 * 16_000 : 4 * 16_000])
    turns.end()
    assert scheduler.jobs == [second]  # the newer one follows it
    scheduler.answer()
    (third,) = scheduler.jobs
    assert len(third.audio) > len(second.audio)
    scheduler.running.add(third)
    runner.feed(data[4 * 16_000 :])
    turns.end()
    running, final = scheduler.jobs
    assert final.final
    assert running is third  # it goes on in the model, and nobody hears of it
    scheduler.answer()
    assert [event.type for event in events].count("segment") == 1
    scheduler.answer()
    runner.finish()
    assert runner.pending == 0
    assert [(event.type, getattr(event, "is_final", None)) for event in events] == [
        ("active", None), ("segment", False), ("inactive", None), ("segment", True),
    ]  # fmt: skip
    tally = service.tally
    assert (tally.segments["segmented", "interim"], tally.segments["segmented", "final"]) == (1, 1)
    assert (tally.first_interim_s.count, tally.final_s.count) == (1, 1)
    assert isinstance(events[2], Inactive)
    assert isinstance(events[3], Segment)
    assert events[3].end_time == events[2].time


def spoken(n_times: int) -> tuple[bytes, float]:
    """Short utterances, each a segment of its own with the settings below."""
    spans = [(0.5 + k, 0.9 + k) for k in range(n_times)]
    return encode(bursts(*spans, length_s=n_times + 1.0)), n_times + 1.0


def a_segmented_runner(
    scheduler: InstantScheduler, events: list[Event], interims: bool = False, **overrides: Any
) -> Any:
    config = load_config(
        environ={}, overrides={"vad.silence_duration_ms": 200, "vad.prefix_padding_ms": 0, **overrides}
    )
    service: Any = SimpleNamespace(
        config=config,
        scheduler=scheduler,
        vad_batcher=VadBatcher(lambda hear: hear()),  # every message is a turn
        detector=DETECTORS["energy"],
        vad=VadConfig(**config.vad.tunables()),
        model=None,
        tally=Tally(),
    )
    start = Start(AudioFormat(1, 16_000, 16, False), interim_results=interims)
    return open_route("segmented", service, start, events.append, lambda: None)


def test_a_stream_asks_for_a_few_finals_at_once_and_the_others_wait_their_turn():
    scheduler, events = InstantScheduler(), []
    runner = a_segmented_runner(scheduler, events, **{"inference.per_stream": 2})
    runner.feed(spoken(7)[0])
    runner.finish()
    assert runner.pending == 7
    assert len(scheduler.jobs) == 2
    while scheduler.jobs:
        assert len(scheduler.jobs) <= 2
        scheduler.answer(len(scheduler.jobs) - 1)
    starts = [event.start_time for event in events if isinstance(event, Segment)]
    assert len(starts) == 7
    assert starts == sorted(starts)
    assert (runner.pending, runner.backlog_s) == (0, 0.0)


def test_the_backlog_is_that_of_the_channel_furthest_behind():
    """An average would let the ring of a channel that lags run over while the others keep up."""
    scheduler: Any = InstantScheduler()
    config = load_config(environ={}, overrides={"inference.per_stream": 1})
    service: Any = SimpleNamespace(
        config=config, scheduler=scheduler, model=SimpleNamespace(sample_rate=16_000), tally=Tally()
    )
    runner = open_route("simple", service, a_format(16_000, "s16", 2), lambda event: None, lambda: None)
    runner.feed(bytes(4 * 16_000))
    assert runner.backlog_s == 1.0
    scheduler.answer()
    assert runner.backlog_s == 1.0
    scheduler.answer()
    assert runner.backlog_s == 0.0


def test_a_final_for_which_the_server_has_no_room_comes_again():
    async def main() -> None:
        scheduler, events = InstantScheduler(), []
        scheduler.room = 0
        runner = a_segmented_runner(scheduler, events)
        runner.feed(spoken(3)[0])
        runner.finish()
        assert scheduler.jobs == []
        assert runner.pending == 3
        assert runner.backlog_s > 1.0
        scheduler.room = 1
        while runner.pending:
            while not scheduler.jobs:
                await asyncio.sleep(0)
            scheduler.answer()
        assert [event.type for event in events].count("segment") == 3
        assert not any(isinstance(event, Error) for event in events)
        scheduler.room = 0
        runner = a_segmented_runner(scheduler, events)
        runner.feed(spoken(1)[0])
        runner.finish()
        runner.abandon()  # nothing is tried for a client that is gone
        scheduler.room = 1
        await asyncio.sleep(0.1)
        assert scheduler.jobs == []

    asyncio.run(main())


def test_an_interim_whose_segment_ends_before_its_turn_is_superseded():
    """A long message is looked at as it comes, but its events wait for the end of the turn. An answer in between finds
    an interim that was put off, of a segment whose audio is gone: the events are handled before it.
    """
    scheduler, turns, events = InstantScheduler(), Turns(), []
    config = load_config(environ={}, overrides={"vad.prefix_padding_ms": 0})
    service: Any = SimpleNamespace(
        config=config,
        scheduler=scheduler,
        vad_batcher=turns.vad_batcher,
        detector=DETECTORS["silero"],
        vad=VadConfig(**config.vad.tunables()),
        model=None,
        tally=Tally(),
    )
    runner = open_route(
        "segmented",
        service,
        Start(AudioFormat(1, 16_000, 16, False), interim_results=True),
        events.append,
        lambda: None,
    )
    data = encode(SPEECH[0, : 5 * SPEECH_RATE])
    fed_bytes = 0
    while not scheduler.jobs:
        runner.feed(data[fed_bytes : fed_bytes + 3200])
        fed_bytes += 3200
        turns.end()
    scheduler.running.add(scheduler.jobs[0])
    while not runner._newer[0]:
        runner.feed(data[fed_bytes : fed_bytes + 3200])
        fed_bytes += 3200
        turns.end()
    runner.feed(data[fed_bytes:])  # the end of the segment, and more
    assert service.tally.interims_superseded == 0
    scheduler.answer()
    # The one that was put off, and the two that came due before the segment ended.
    assert service.tally.interims_superseded == 3
    # The final of that segment, and the interim of the next one.
    assert [job.final for job in scheduler.jobs] == [True, False]
    turns.end()
    runner.finish()
    while scheduler.jobs:
        scheduler.answer()
    assert runner.pending == 0
    finals = [event for event in events if isinstance(event, Segment) and event.is_final]
    assert len(finals) == sum(isinstance(event, Active) for event in events) > 1
    assert not any(isinstance(event, Error) for event in events)


# The same speech on every wire, cut anywhere, on a real server


@pytest.mark.parametrize("wire", TEXTS)
def test_every_wire_gives_the_same_finals_however_the_audio_is_cut(serve, wire):
    """A text of the model says how many samples it got: what is lost, doubled or out of order shows."""
    server = serve(words_of_length, **{"grpc.port": 0})
    data = encode(bursts((0.5, 1.2), (2.0, 2.4), (3.3, 4.0), length_s=5.0))
    expected = TEXTS["native"](server, [data])
    assert len(set(expected)) == 3

    @settings(max_examples=8)
    @given(st.lists(st.integers(1, 20_000), min_size=1, max_size=12))
    def check(sizes):
        ends = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 400)))
        cuts = [0, *(end for end in ends if end < len(data)), len(data)]
        assert TEXTS[wire](server, [data[a:b] for a, b in itertools.pairwise(cuts)]) == expected

    check()


# Many streams at once, on a real server


def test_a_hundred_streams_all_get_their_results_in_order(serve):
    """With the dummy model of the series, its delay scaled down."""
    from voxgate.models.dummy import Dummy

    model = Dummy(delay=0.02, constant_factor=0.0, jitter=0.015, panic_rate=0.0, warmup_penalty=0.0)
    server = serve(model)
    data = encode(bursts((0.6, 1.2), (2.1, 2.7), length_s=3.5))
    expected = story(stream(server.url(), start(), data))
    assert len(expected) == 6

    async def one(number: int) -> list[dict[str, Any]]:
        import json

        import websockets

        async with websockets.connect(server.url(), compression=None, ping_interval=None) as socket:
            await socket.send(json.dumps(start()))
            for piece in pieces(data, 640 + number):
                await socket.send(piece)
            await socket.send(json.dumps(STOP))
            return [json.loads(message) async for message in socket]

    async def all_of_them() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(one(number) for number in range(100)))

    for events in asyncio.run(all_of_them()):
        assert story(events) == expected
        ends = [event["end_time"] for event in events if event["type"] == "segment"]
        assert ends == sorted(ends)


def test_a_stream_whose_model_call_hangs_harms_no_other(serve):
    release = threading.Event()

    def model(audio):
        if len(audio) == 1234:
            assert release.wait(30)
        return {"count": len(audio)}

    server = serve(model, **{"inference.threads": 2, "inference.warm_up": False, "simple.min_chunk_ms": 1000})
    with Client(server.url("simple")) as hanging:
        hanging.send(start(), bytes(2 * 1234), STOP)
        expected = [{"type": "segment", "start_time": 0.0, "end_time": 0.25, "count": 4000, "channel": 0}]
        for _ in range(5):
            assert stream(server.url("simple"), start(), bytes(8000)) == expected
        release.set()
        assert [event["count"] for event in hanging.rest()] == [1234]


def test_every_interim_that_is_due_is_sent_or_superseded():
    """Whether the model keeps up or not, the same ones are due."""
    n_due = []
    for keeps_up in (True, False):
        scheduler, events = InstantScheduler(), []
        runner = a_segmented_runner(scheduler, events, interims=True)
        for piece in pieces(encode(bursts((0.5, 3.0), (4.0, 6.0), length_s=8.0)), 640):
            runner.feed(piece)
            while keeps_up and scheduler.jobs:
                scheduler.answer()
        runner.finish()
        while scheduler.jobs:
            scheduler.answer()
        tally = runner._tally
        n_sent = sum(isinstance(event, Segment) and event.is_final is False for event in events)
        assert tally.segments["segmented", "interim"] == n_sent
        assert (n_sent > 5) == keeps_up
        assert tally.first_interim_s.count == (2 if keeps_up else 0)
        assert tally.final_s.count == tally.segments["segmented", "final"] == 2
        n_due.append(n_sent + tally.interims_superseded)
    assert n_due[0] == n_due[1]
