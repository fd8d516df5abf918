"""The segmented route when the client ends each segment itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.handlers import Handled, open_handler
from helpers.wire import CLEAR, FLUSH, STOP, Client, bursts, encode, start
from voxgate.protocol.events import Active, Inactive, Probabilities, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions


def a_start(rate: int = 16_000, channels: int = 1, **options) -> Start:
    return Start(AudioFormat(channels, rate, 16, False), segmentation="manual", **options)


def told(handled: Handled) -> list[tuple]:
    return [
        (event.type, event.time)
        if isinstance(event, Active | Inactive)
        else (event.type, event.start_time, event.end_time, event.is_final)
        for event in handled.events
        if not isinstance(event, Probabilities)
    ]


def test_nothing_is_cut_until_a_flush_and_silence_is_part_of_the_segment():
    handled = open_handler("segmented", a_start())
    handled.feed(encode(bursts((0.5, 1.0), length_s=3.0)))
    assert told(handled) == [("active", 0.0)]
    handled.handler.flush()
    handled.answer_all()
    assert told(handled) == [("active", 0.0), ("inactive", 3.0), ("segment", 0.0, 3.0, True)]
    assert [len(audio) for audio in handled.audio] == [48_000]


def test_a_flush_of_nothing_answers_nothing():
    handled = open_handler("segmented", a_start())
    handled.handler.flush()
    handled.feed(bytes(640))
    handled.handler.flush()
    handled.handler.flush()
    handled.handler.finish()
    handled.answer_all()
    assert told(handled) == [("active", 0.0), ("inactive", 0.02), ("segment", 0.0, 0.02, True)]


def test_the_longest_segment_is_cut_and_stop_ends_the_last():
    handled = open_handler("segmented", a_start(vad=VadOptions(max_segment_s=1)))
    handled.feed(bytes(2 * 40_000))
    handled.handler.finish()
    handled.answer_all()
    assert told(handled) == [
        ("active", 0.0), ("inactive", 2.5),
        ("segment", 0.0, 1.0, True), ("segment", 1.0, 2.0, True), ("segment", 2.0, 2.5, True),
    ]  # fmt: skip


def test_interims_come_while_a_segment_is_open_and_not_after():
    handled = open_handler("segmented", a_start(interim_results=True, notices=True))
    for _ in range(12):
        handled.feed(bytes(2 * 1600))
        handled.answer_all()
    handled.handler.flush()
    handled.answer_all()
    assert told(handled) == [
        ("active", 0.0), ("segment", 0.0, 0.5, False), ("segment", 0.0, 1.0, False),
        ("inactive", 1.2), ("segment", 0.0, 1.2, True),
    ]  # fmt: skip
    assert {event.segment_id for event in handled.events} == {0}


def test_clear_drops_the_audio_and_the_segment_gets_no_final():
    handled = open_handler("segmented", a_start(interim_results=True, notices=True))
    handled.feed(bytes(2 * 10_000))
    assert len(handled.jobs) == 1  # an interim
    handled.handler.clear()
    assert handled.jobs == []
    handled.handler.clear()
    handled.feed(bytes(2 * 4000))
    handled.handler.flush()
    handled.answer_all()
    handled.handler.finish()
    assert told(handled) == [
        ("active", 0.0), ("inactive", 0.625), ("active", 0.625), ("inactive", 0.875), ("segment", 0.625, 0.875, True),
    ]  # fmt: skip
    assert [event.segment_id for event in handled.events] == [0, 0, 1, 1, 1]
    assert [len(audio) for audio in handled.audio[1:]] == [4000]


@pytest.mark.parametrize("rate", [8000, 24_000, 44_100])
def test_what_the_resampler_holds_back_is_no_segment_of_its_own(rate):
    handled = open_handler("segmented", a_start(rate))
    handled.feed(bytes(2 * rate))
    handled.handler.flush()
    handled.handler.finish()
    handled.answer_all()
    (segment,) = [event for event in handled.events if isinstance(event, Segment)]
    assert segment.end_time == pytest.approx(1.0, abs=0.004)


def test_the_end_of_audio_after_a_flush_is_a_segment():
    handled = open_handler("segmented", a_start(24_000))
    handled.feed(bytes(2 * 24_000))
    handled.handler.flush()
    handled.feed(bytes(2 * 240))
    handled.handler.finish()
    handled.answer_all()
    first, last = (event for event in handled.events if isinstance(event, Segment))
    assert first.end_time == last.start_time
    assert last.end_time == 1.01


def test_the_detector_runs_only_for_a_client_that_asks_for_probabilities():
    data = encode(bursts((0.5, 1.0), length_s=1.5))
    plain, asked = (open_handler("segmented", a_start(probabilities=asks), "energy") for asks in (False, True))
    for handled in (plain, asked):
        handled.feed(data)
        handled.handler.flush()
        handled.feed(data)
        handled.handler.finish()
        handled.answer_all()
    assert plain.n_detectors == 0
    assert told(plain) == told(asked)
    auto = open_handler("segmented", Start(AudioFormat(1, 16_000, 16, False), probabilities=True), "energy")
    auto.feed(data + data)
    auto.handler.finish()
    seen = [event for event in asked.events if isinstance(event, Probabilities)]
    assert seen == [event for event in auto.events if isinstance(event, Probabilities)]
    assert len(seen) > 10


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 9000) | st.sampled_from(["flush", "clear"]), max_size=12),
    st.integers(1, 2),
    st.sampled_from([8000, 16_000, 24_000]),
    st.data(),
)
def test_cuts_anywhere_give_the_same_events(steps, channels, rate, data):
    audio = encode(np.random.default_rng(1).uniform(-0.5, 0.5, (channels, 110_000)))

    def run(is_cut: bool):
        handled = open_handler("segmented", a_start(rate, channels, vad=VadOptions(max_segment_s=1)))
        offset = 0
        for step in steps:
            if isinstance(step, int):
                n_bytes = 2 * channels * step
                cuts = sorted(data.draw(st.lists(st.integers(0, n_bytes), max_size=3))) if is_cut else []
                for begin, end in zip([0, *cuts], [*cuts, n_bytes], strict=True):
                    handled.feed(audio[offset + begin : offset + end])
                offset += n_bytes
            else:
                getattr(handled.handler, step)()
        handled.handler.finish()
        handled.answer_all()
        return told(handled), [one.tobytes() for one in handled.audio]

    assert run(True) == run(False)


def test_over_the_wire(serve):
    server = serve(lambda audio: {"count": len(audio)}, **{"vad.stall_flush_ms": 50})
    with Client(server.url()) as client:
        client.send({**start(), "segmentation": "manual"}, bytes(3200), CLEAR, bytes(6400), FLUSH)
        events = [client.receive() for _ in range(5)]
        assert [(event["type"], event.get("time"), event.get("count")) for event in events] == [
            ("active", 0.0, None), ("inactive", 0.1, None),
            ("active", 0.1, None), ("inactive", 0.3, None), ("segment", None, 3200),
        ]  # fmt: skip
        client.send(bytes(3200))
        assert client.receive()["type"] == "active"
        client.send(STOP)
        assert [event["type"] for event in client.rest()] == ["inactive", "segment"]
