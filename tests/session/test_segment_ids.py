"""With notices, each event about a segment says which one; without them, the wire knows no ids."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest

from helpers.wire import FLUSH, PAUSE, STOP, Client, bursts, encode, of_type, pieces, start, stream
from voxgate import InferenceError, Model

NO_PADDING = {"prefix_padding_ms": 0, "min_speech_ms": 0}
TALK = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0))


def ids(events: list[dict[str, Any]], channel: int = 0) -> list[tuple[str, int | None]]:
    told = ("active", "inactive", "segment", "error")
    return [(e["type"], e.get("segment_id")) for e in events if e["type"] in told and e["channel"] == channel]


def test_a_final_may_come_after_the_next_active_and_its_id_says_whose_it_is(serve):
    go_on = threading.Event()

    def slow(audio):
        assert go_on.wait(30)
        return {"count": len(audio)}

    server = serve(slow, **{"inference.warm_up": False})
    with Client(server.url()) as client:
        client.send(start(notices=True), *pieces(TALK, 640), FLUSH)
        events = [event for _ in range(2) for event in client.until("inactive")]
        go_on.set()
        client.send(STOP)
        events += client.rest()
    assert ids(events) == [
        *[("active", 0), ("inactive", 0), ("active", 1), ("inactive", 1)],
        *[("segment", 0), ("segment", 1)],
    ]
    for index, final in enumerate(of_type(events, "segment")):
        active, inactive = of_type(events, "active")[index], of_type(events, "inactive")[index]
        assert (final["start_time"], final["end_time"]) == (active["time"], inactive["time"])
        assert list(final) == ["type", "start_time", "end_time", "is_final", "count", "segment_id", "channel"]


def test_after_a_cut_the_next_id_begins_without_an_active(serve):
    audio = encode(bursts((0.5, 3.0), (4.0, 4.5), length_s=5.5))
    vad = {"max_segment_s": 1.0, **NO_PADDING}
    events = stream(serve().url(), start(vad=vad, notices=True), *pieces(audio, 640))
    assert [id for kind, id in ids(events) if kind == "active"] == [0, 3]
    assert [id for kind, id in ids(events) if kind == "inactive"] == [2, 3]
    finals = of_type(events, "segment")
    assert [final["segment_id"] for final in finals] == [0, 1, 2, 3]
    assert [final["start_time"] for final in finals[1:3]] == [final["end_time"] for final in finals[:2]]
    assert of_type(events, "inactive")[0]["time"] == finals[2]["end_time"]


def test_speech_that_ends_where_it_was_cut_has_the_id_of_what_was_cut(serve):
    audio = encode(bursts((0.5, 2.5), length_s=2.5))
    with Client(serve().url()) as client:
        client.send(start(vad={"max_segment_s": 1.0, **NO_PADDING}, notices=True), audio[:32_000])
        events = client.until("active")
        begin_s = events[-1]["time"]
        cut_bytes = round((begin_s + 1.0) * 16_000) * 2  # a second is a number of whole frames
        client.send(audio[32_000:cut_bytes])
        events += client.until("segment")
        client.send(FLUSH)
        events += client.until("inactive")
        client.send(audio[cut_bytes:], STOP)
        events += client.rest()
    (first, _), cut = of_type(events, "inactive"), of_type(events, "segment")[0]
    assert (cut["start_time"], cut["end_time"], first["time"]) == (begin_s, begin_s + 1.0, begin_s + 1.0)
    for kind in ("active", "inactive", "segment"):
        assert [id for one, id in ids(events) if one == kind] == [0, 1]


def test_interims_have_the_id_of_their_final(serve):
    audio = encode(bursts((0.5, 2.5), (3.5, 5.5), length_s=6.5))
    with Client(serve().url()) as client:
        client.send(start(interim_results=True, notices=True))
        events = []
        for index, piece in enumerate(pieces(audio, 16_000)):
            client.send(piece)
            if index in (3, 9):  # an interim is due, the second one behind the first segment's final
                wanted = index // 9
                while not any(one["segment_id"] == wanted for one in of_type(events, "segment")):
                    events += client.until("segment")
        client.send(STOP)
        events += client.rest()
    segments = of_type(events, "segment")
    start_of = {segment["segment_id"]: segment["start_time"] for segment in segments if segment["is_final"]}
    assert list(start_of) == [0, 1]
    interims = [segment for segment in segments if not segment["is_final"]]
    assert {interim["segment_id"] for interim in interims} == {0, 1}
    assert all(start_of[interim["segment_id"]] == interim["start_time"] for interim in interims)


@pytest.mark.parametrize(
    "failure", [InferenceError("no"), ZeroDivisionError("a bug"), {"segment_id": 7}, {"x": object()}]
)
def test_an_error_in_the_place_of_a_result_has_its_id(serve, failure, caplog):
    def model(audio):
        if len(audio) < 24_000:  # the second
            return {"count": len(audio)}
        if isinstance(failure, Exception):
            raise failure
        return failure

    events = stream(serve(model, **{"inference.warm_up": False}).url(), start(notices=True), *pieces(TALK, 640))
    results = [one for one in ids(events) if one[0] in ("segment", "error")]
    assert results == [("error", 0), ("segment", 1)]


def test_an_error_about_a_message_has_none(serve):
    with Client(serve().url()) as client:
        client.send(start(notices=True), "{", STOP)
        assert ids(client.rest()) == [("error", None)]


def test_an_interim_that_cannot_be_sent_leaves_no_error(serve, caplog):
    """It would be taken for that of the final."""
    first, second = threading.Event(), threading.Event()

    def model(audio):
        if first.is_set():
            second.set()  # a channel has one interim at a time: the answer of the first has been taken
            return {"count": len(audio)}
        first.set()
        return {"type": "mine"}

    audio = encode(bursts((0.5, 3.5), length_s=3.6))
    with Client(serve(model, **{"inference.warm_up": False}).url()) as client:
        client.send(start(interim_results=True))
        client.send(*pieces(audio[:48_000], 3200))
        assert first.wait(30)
        client.send(*pieces(audio[48_000:96_000], 3200))
        assert second.wait(30)
        client.send(audio[96_000:], STOP)
        events = client.rest()
    assert of_type(events, "error") == []
    assert [segment["is_final"] for segment in of_type(events, "segment")][-1] is True
    assert any("is reserved" in record.getMessage() for record in caplog.records)


def test_channels_and_sessions_count_apart(serve):
    left, right = bursts((0.5, 1.5), (2.5, 3.5), length_s=5.0), bursts((2.0, 2.75), length_s=5.0, seed=1)
    audio = encode(np.stack([left, right]))
    messages = [start(channels=2, notices=True), *pieces(audio, 2560), PAUSE, *pieces(audio, 2560)]
    events = stream(serve().url(), *messages)
    for kind in ("active", "inactive", "segment"):
        assert [id for one, id in ids(events, 0) if one == kind] == [0, 1] * 2
        assert [id for one, id in ids(events, 1) if one == kind] == [0] * 2


@pytest.mark.parametrize("route", ["simple", "stateful"])
def test_where_nothing_is_cut_each_reply_is_a_segment(serve, route):
    class Listener(Model):
        """Fails on the loud; where it has a state it says nothing on every other call."""

        def infer(self, audio):
            if audio.max() > 0.1:
                raise InferenceError("no")
            return {"count": len(audio)}

        def open(self):
            return itertools.count()

        def step(self, audio, state):
            return None if next(state) % 2 else self.infer(audio)

    settings = {"inference.warm_up": False, "simple.max_chunk_s": 0.1, "simple.min_chunk_ms": 100}
    server = serve(Listener(), **settings)
    audio = np.zeros((2, 16_000))
    audio[:, 6400:8000] = 0.5
    events = stream(server.url(route), start(channels=2, notices=True), encode(audio))
    for channel in range(2):
        replies = [event for event in events if event["channel"] == channel and event["type"] in ("segment", "error")]
        assert len(replies) >= 3
        assert [reply["segment_id"] for reply in replies] == list(range(len(replies)))
    assert len(of_type(events, "error")) == 2


@pytest.mark.parametrize("route", ["segmented", "simple"])
def test_without_notices_there_are_no_ids(serve, route):
    events = stream(serve().url(route), start(interim_results=True), *pieces(TALK, 640))
    assert events
    assert all("segment_id" not in event for event in events)


def test_without_notices_the_name_is_the_models(serve):
    events = stream(serve(lambda audio: {"segment_id": "mine"}).url(), start(), *pieces(TALK, 640))
    assert [segment["segment_id"] for segment in of_type(events, "segment")] == ["mine"] * 2
