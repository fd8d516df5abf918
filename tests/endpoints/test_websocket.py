"""What a client sees, on a real socket: sessions, results, order, and an exact answer to everything it can do wrong."""

from __future__ import annotations

import contextlib
import itertools
import threading

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from helpers.raw import Raw
from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, STOP, Client, bursts, encode, of_type, pieces, start, story, stream
from voxgate import InferenceError

ONE_SECOND = encode(np.zeros((1, 16_000)))
TALK = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0))


# The routes


def test_simple_answers_all_audio_in_order(serve):
    events = stream(serve().url("simple"), start(), *pieces(TALK, 640))
    assert {event["type"] for event in events} == {"segment"}
    assert all("is_final" not in event and event["channel"] == 0 for event in events)
    assert [event["start_time"] for event in events] == [0.0, *(event["end_time"] for event in events[:-1])]
    assert events[-1]["end_time"] == 6.0
    assert sum(event["count"] for event in events) == 6 * 16_000


def test_simple_without_audio_answers_nothing(serve):
    assert stream(serve().url("simple"), start()) == []


def test_segmented_tells_speech_and_answers_it(serve):
    events = story(stream(serve().url(), start(), *pieces(TALK, 640)))
    assert [event["type"] for event in events] == ["active", "inactive", "segment"] * 2
    for active, inactive, segment in zip(*[iter(events)] * 3, strict=True):
        assert list(segment) == ["type", "start_time", "end_time", "is_final", "count", "channel"]
        assert (segment["start_time"], segment["end_time"]) == (active["time"], inactive["time"])
        assert segment["is_final"] is True
        assert segment["count"] == round((segment["end_time"] - segment["start_time"]) * 16_000)
    # The bursts, less the prefix padding of 0.6 s at the start.
    spans = [(event["start_time"], event["end_time"]) for event in of_type(events, "segment")]
    np.testing.assert_allclose(spans, [(0.4, 2.0), (2.9, 4.25)], atol=0.1)


def test_inactive_does_not_wait_for_the_model(serve):
    released = threading.Event()

    def slow(audio):
        assert released.wait(30) or len(audio) == 16_000
        return {"count": len(audio)}

    server = serve(slow, **{"inference.warm_up": False})
    with Client(server.url()) as client:
        client.send(start(), *pieces(TALK, 640), PAUSE)
        heard = [client.receive()["type"] for _ in range(4)]
        assert heard == ["active", "inactive", "active", "inactive"]
        released.set()
        client.send(STOP)
        assert [event["type"] for event in client.rest()] == ["segment", "segment"]


def test_results_come_in_audio_order_whatever_order_the_model_ends_in(serve):
    """The first call of each channel ends last: everybody else waits for it."""
    first_waits = threading.Event()
    n_calls = iter(range(1000))
    done = []

    def model(audio):
        number = next(n_calls)
        if number == 0:
            assert first_waits.wait(30)
        done.append(number)
        if len(done) == 3:
            first_waits.set()
        return {"number": number}

    server = serve(model, **{"inference.threads": 4, "inference.per_stream": 4, "inference.warm_up": False})
    events = stream(server.url("simple"), start(), *pieces(ONE_SECOND * 2, 3200))
    assert done.index(0) >= 3
    times = [event["start_time"] for event in events]
    assert times == sorted(times)
    assert events[-1]["end_time"] == 2.0


def test_calls_of_one_stream_are_bounded(serve):
    lock, running, most = threading.Lock(), 0, 0
    several = threading.Barrier(3, timeout=30)

    def model(audio):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if len(audio) == 1600:
            several.wait()  # three calls have to be in here at once, so they do run concurrently
        with lock:
            running -= 1
        return {}

    settings = {
        "inference.threads": 8,
        "inference.per_stream": 3,
        "inference.warm_up": False,
        "simple.max_chunk_s": 0.1,
    }
    events = stream(serve(model, **settings).url("simple"), start(), ONE_SECOND * 3)
    assert len(events) == 30
    assert most == 3


def test_channels_are_heard_apart(serve):
    left, right = bursts((0.5, 1.5), length_s=4.0), bursts((2.0, 2.75), length_s=4.0, seed=1)
    events = stream(serve().url(), start(channels=2), *pieces(encode(np.stack([left, right])), 1280))
    alone = [stream(serve().url(), start(), encode(channel)) for channel in (left, right)]
    for channel in (0, 1):
        together = story(event for event in events if event["channel"] == channel)
        assert together == [{**event, "channel": channel} for event in story(alone[channel])]
        assert len(together) == 3


def test_interims_come_while_somebody_speaks(serve):
    audio = encode(bursts((0.5, 3.5), length_s=4.5))
    with Client(serve().url()) as client:
        client.send(start(interim_results=True))
        events = []
        for index, piece in enumerate(pieces(audio, 16_000)):  # half a second each
            client.send(piece, KEEP_ALIVE)
            if index in (3, 5):  # an interim is due: awaited before the next one, or the final, may supersede it
                events += client.until("segment")
        client.send(STOP)
        events += client.rest()
    interims = [event for event in of_type(events, "segment") if not event["is_final"]]
    (final,) = [event for event in of_type(events, "segment") if event["is_final"]]
    assert events.index(final) > max(events.index(interim) for interim in interims)
    assert {interim["start_time"] for interim in interims} == {final["start_time"]}
    ends = [interim["end_time"] for interim in interims]
    assert ends == sorted(ends)
    assert all(later - sooner >= 0.5 for sooner, later in itertools.pairwise(ends))


def test_no_interims_unless_asked_for(serve):
    events = stream(serve().url(), start(), encode(bursts((0.5, 3.5), length_s=4.5)))
    assert [event["is_final"] for event in of_type(events, "segment")] == [True]


# Sessions


def test_open_speech_is_closed_at_stop(serve):
    events = stream(serve().url(), start(), encode(bursts((0.5, 2.0), length_s=2.0)))
    assert [event["type"] for event in events] == ["active", "inactive", "segment"]
    assert events[1]["time"] == events[2]["end_time"] == 2.0


def test_several_sessions_on_one_connection_start_at_zero(serve):
    with Client(serve().url()) as client:
        client.send(start(), TALK, PAUSE, start(), TALK, STOP)
        events = client.rest()
    assert len(events) == 12  # all of a session is sent before the next one opens
    assert story(events[:6]) == story(events[6:])


def test_audio_after_stop_resumes_with_the_last_format(serve):
    with Client(serve().url()) as client:
        client.send(start(), TALK, PAUSE, TALK, STOP)
        events = client.rest()
    assert len(events) == 12  # all of a session is sent before the next one opens
    assert story(events[:6]) == story(events[6:])


def test_start_in_mid_stream_ends_the_running_session_first(serve):
    eight = encode(bursts((1.0, 2.0), length_s=4.0, rate=8000))
    with Client(serve().url()) as client:
        client.send(start(), encode(bursts((0.5, 1.5), length_s=1.6)), start(sample_rate=8000), eight, STOP)
        events = client.rest()
    assert [event["type"] for event in events] == ["active", "inactive", "segment"] * 2
    assert events[2]["end_time"] == pytest.approx(1.5, abs=0.1)
    assert events[3]["time"] == pytest.approx(0.4, abs=0.1)


def test_flush_closes_the_open_segment_and_keeps_the_session(serve):
    audio = bursts((0.5, 4.0), length_s=4.0)
    with Client(serve().url()) as client:
        client.send(start(), encode(audio[: 2 * 16_000]), FLUSH)
        first = client.until("segment")
        client.send(encode(audio[2 * 16_000 :]), STOP)
        second = client.rest()
    assert (
        [event["type"] for event in first] == [event["type"] for event in second] == ["active", "inactive", "segment"]
    )
    assert first[2]["end_time"] == 2.0
    assert second[2]["start_time"] == 2.0  # the prefix does not reach into the segment before
    assert second[2]["end_time"] == pytest.approx(4.0, abs=0.1)


def test_flush_on_the_simple_route_answers_what_is_there(serve):
    with Client(serve(**{"simple.min_chunk_ms": 1000}).url("simple")) as client:
        client.send(start(), ONE_SECOND[:640], FLUSH)
        assert client.receive() == {"type": "segment", "start_time": 0.0, "end_time": 0.02, "count": 320, "channel": 0}
        client.send(STOP)
        assert client.rest() == []


def test_the_last_partial_frame_and_a_split_sample_are_not_lost(serve):
    samples = (np.arange(16_000 + 123) % 100).astype("<i2").tobytes()
    url = serve().url("simple")
    assert sum(event["count"] for event in stream(url, start(), *pieces(samples, 333))) == 16_123
    assert sum(event["count"] for event in stream(url, start(), samples + b"\1")) == 16_123


def test_a_resampled_stream_has_exactly_the_length_of_its_time(serve):
    url = serve().url("simple")
    for rate, frames, expected in [
        (48_000, 48_001, 16_000),
        (44_100, 44_101, 16_000),
        (8_000, 777, 1554),
        (22_050, 1, 1),
    ]:
        events = stream(url, start(sample_rate=rate), encode(np.zeros((1, frames))))
        assert sum(event["count"] for event in events) == expected


def test_client_tuned_detection(serve):
    audio = encode(bursts((1.0, 2.0), (2.3, 3.0), length_s=5.0))
    url = serve().url()
    assert len(of_type(stream(url, start(), audio), "segment")) == 1
    parted = stream(url, start(vad={"silence_duration_ms": 150, "prefix_padding_ms": 0}), audio)
    spans = [(event["start_time"], event["end_time"]) for event in of_type(parted, "segment")]
    np.testing.assert_allclose(spans, [(1.0, 2.0), (2.3, 3.0)], atol=0.1)


def test_a_segment_at_its_longest_is_cut_and_goes_on(serve):
    audio = encode(bursts((0.5, 3.5), length_s=4.5))
    events = stream(serve().url(), start(vad={"max_segment_s": 1.0, "prefix_padding_ms": 0}), audio)
    segments = of_type(events, "segment")
    assert [event["type"] for event in events if event["type"] != "segment"] == ["active", "inactive"]
    assert all(segment["is_final"] for segment in segments)
    assert [segment["count"] for segment in segments[:-1]] == [16_000] * (len(segments) - 1)
    for sooner, later in itertools.pairwise(segments):
        assert later["start_time"] == sooner["end_time"]
    assert segments[-1]["end_time"] == of_type(events, "inactive")[0]["time"]


def test_segments_of_many_channels_are_shorter(serve):
    """What one stream may hold is bounded over its channels."""
    server = serve(**{"limits.segment_audio_s": 4, "vad.prefix_padding_ms": 0})
    speech = encode(np.tile(bursts((0.5, 3.5), length_s=4.5), (4, 1)))
    events = stream(server.url(), start(channels=4), speech)
    assert max(segment["count"] for segment in of_type(events, "segment")) == 16_000
    with Client(server.url()) as client:
        client.send(start(channels=4, vad={"max_segment_s": 1.5}), start(channels=2, vad={"max_segment_s": 1.5}), STOP)
        (error,) = client.rest()
    assert error["code"] == "invalid_start"
    assert error["message"] == "vad.max_segment_s must be 1..1 s with 4 channels, got 1.5"


# Notices


def test_notices_only_when_asked_for(serve):
    events = stream(serve().url(), start(notices=True), TALK)
    started, *others, finished = events
    assert started["type"] == "started"
    assert len(started["session_id"]) == 32
    assert started["model"] == "count"
    assert started["limits"]["channels"] == 8
    assert finished == {
        "type": "finished", "received_s": 6.0, "processed_s": 6.0, "results": 2, "errors": 0, "channel": 0,
    }  # fmt: skip
    assert [event["type"] for event in story(others)] == ["active", "inactive", "segment"] * 2


# A model that fails


def test_a_failing_inference_sends_its_error_and_the_stream_goes_on(serve):
    n_calls = iter(range(10))

    def model(audio):
        if next(n_calls) == 0:
            raise InferenceError("too much echo")
        return {"count": len(audio)}

    events = stream(serve(model, **{"inference.warm_up": False, "inference.threads": 1}).url(), start(), TALK)
    replies = [event for event in events if event["type"] in ("segment", "error")]
    assert replies[0] == {"type": "error", "message": "too much echo", "code": "inference_failed", "channel": 0}
    assert replies[1]["is_final"] is True
    assert len(replies) == 2


@pytest.mark.parametrize("answer", [ZeroDivisionError("secret"), 7, {"type": "mine"}, {"what": object()}])
def test_a_broken_model_reaches_the_client_as_an_internal_error(serve, answer, caplog):
    def model(audio):
        if isinstance(answer, Exception):
            raise answer
        return answer

    events = stream(serve(model, **{"inference.warm_up": False}).url(), start(), TALK)
    errors = of_type(events, "error")
    assert errors == [{"type": "error", "message": "Internal server error", "code": "internal", "channel": 0}] * 2
    assert [event["type"] for event in events].count("inactive") == 2
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_an_error_without_a_text_is_answered_too(serve, caplog):
    class Speechless(InferenceError):
        def __str__(self):
            raise ZeroDivisionError("no words")

    def model(audio):
        raise Speechless

    events = stream(serve(model, **{"inference.warm_up": False}).url(), start(), TALK)
    errors = of_type(events, "error")
    assert [error["code"] for error in errors] == ["inference_failed"] * 2
    assert {error["message"] for error in errors} == {"Unexpected inference failure"}
    assert "no words" in caplog.text


# What a client can do wrong

WRONG = [
    ("{", "invalid_message", "message: expected JSON"),
    (
        '{"request":"begin"}',
        "invalid_message",
        'request must be one of start, stop, flush, clear, keep_alive, got "begin"',
    ),
    ('{"request":"start"}', "invalid_message", "format: expected object, got nothing"),
    ('["start"]', "invalid_message", "expected object, got array"),
    (b"\0\0", "not_started", "audio before any start"),
    (PAUSE, "not_started", "stop before any start"),
    (FLUSH, "not_started", "flush before any start"),
    (start(channels=9), "invalid_start", "format.channels must be 1..8, got 9"),
    (start(channels=0), "invalid_start", "format.channels must be 1..8, got 0"),
    (start(sample_rate=3999), "invalid_start", "format.sample_rate must be 4000..192000 Hz, got 3999"),
    (start(vad={"threshold": 1.5}), "invalid_start", "threshold"),
    (start(vad={"prefix_padding_ms": -1}), "invalid_start", "prefix_padding_ms"),
]


def test_a_refused_start_is_one_error_and_its_audio_one_more(serve):
    """A client that streams on and stops in good order: it is not flooded with errors, and it is closed."""
    with Client(serve().url()) as client:
        client.send(start(channels=9), *[b"\0\0"] * 203, STOP)
        assert [event["code"] for event in client.rest()] == ["invalid_start", "not_started"]


@pytest.mark.parametrize(("message", "code", "text"), WRONG)
def test_a_wrong_message_is_answered_and_the_connection_stays(serve, message, code, text):
    with Client(serve().url()) as client:
        client.send(message)
        error = client.receive()
        assert (error["type"], error["code"], error["channel"]) == ("error", code, 0)
        assert text in error["message"]
        client.send(start(), TALK, STOP)
        assert len(client.rest()) == 6
        assert client.close_code == 1000


def test_a_wrong_message_does_not_harm_the_running_session(serve):
    undisturbed = stream(serve().url(), start(), TALK)
    with Client(serve().url()) as client:
        client.send(start(), TALK[:40_000], "{", start(channels=99), TALK[40_000:], STOP)
        events = client.rest()
    assert [error["code"] for error in of_type(events, "error")] == ["invalid_message", "invalid_start"]
    assert story(event for event in events if event["type"] != "error") == story(undisturbed)


def test_the_eighth_invalid_message_closes(serve):
    with Client(serve().url()) as client:
        client.send(*["{"] * 8)
        events = client.rest()
    assert [event["code"] for event in events] == ["invalid_message"] * 8
    assert client.close_code == 1008


def test_a_message_over_the_limit_closes_1009(serve):
    server = serve(**{"limits.message_bytes": 2000})
    with Client(server.url()) as client:
        client.send(start(), bytes(2000))
        client.send(bytes(2001))
        client.rest()
        assert client.close_code == 1009


@pytest.mark.parametrize(
    ("messages", "limit", "text"),
    [([], "start_timeout_s", "no start within"), ([start()], "idle_timeout_s", "no message within")],
)
def test_silence_is_answered_with_timeout(serve, messages, limit, text):
    server = serve(**{f"limits.{limit}": 0.2})
    with Client(server.url()) as client:
        client.send(*messages)
        (error,) = client.rest()
    assert error["code"] == "timeout"
    assert text in error["message"]
    assert client.close_code == 1008


def test_who_waits_for_a_result_is_not_idle(serve):
    """The model is busy for longer than the idle timeout, and only then is the client's time counted."""
    timed_out = threading.Event()

    def model(audio):
        timed_out.wait(2.0)  # never set: much longer than the idle timeout
        return {"count": len(audio)}

    server = serve(model, **{"limits.idle_timeout_s": 0.5, "inference.warm_up": False})
    with Raw(server.port).open("/api/v1/simple") as client:
        client.say(start(), ONE_SECOND, FLUSH)
        assert client.receive()["type"] == "segment"
        assert client.receive()["code"] == "timeout"
        assert client.rest() == []


def test_the_longest_connection_ends_with_its_results(serve):
    server = serve(**{"limits.session_s": 1})
    with Client(server.url()) as client:
        client.send(start(), encode(bursts((0.5, 2.0), length_s=2.0)))
        *story, error = client.rest()
    assert [event["type"] for event in story] == ["active", "inactive", "segment"]
    assert (error["code"], error["message"]) == ("timeout", "the connection is 1 s old, the longest allowed")
    assert client.close_code == 1008


# Audio that stops coming

OPEN_SPEECH = encode(bursts((0.5, 2.0), length_s=2.0))


def test_an_utterance_whose_audio_stops_coming_gets_its_final(serve):
    server = serve(**{"vad.stall_flush_ms": 50})
    with Client(server.url()) as client:
        client.send(start(), OPEN_SPEECH)
        first = client.until("segment")
        client.send(OPEN_SPEECH)  # the session goes on, and so do its times
        second = client.until("segment")
    for events in (first, second):
        assert [event["type"] for event in events] == ["active", "inactive", "segment"]
        assert events[-1]["is_final"]
    assert first[-1]["end_time"] == 2.0
    assert second[-1]["end_time"] == 4.0


def test_keep_alive_is_no_audio(serve):
    server = serve(**{"vad.stall_flush_ms": 200})
    with Client(server.url()) as client:
        client.send(start(), OPEN_SPEECH)
        n_events = 0
        while n_events < 3:
            client.send(KEEP_ALIVE)
            with contextlib.suppress(TimeoutError):
                client.socket.recv(0.02)
                n_events += 1


def test_audio_that_waits_for_the_model_has_not_stopped_coming(serve):
    """The model stands still for many times the stall, in the middle of an utterance: it is not cut for that."""
    audio = encode(bursts((0.2, 0.6), (1.4, 5.0), length_s=6.0))  # the second opens in the second that ends the first
    undisturbed = story(stream(serve().url(), start(), audio))
    still = threading.Event()

    def model(audio):
        still.wait(1.0)  # never set
        return {"count": len(audio)}

    settings = {"inference.warm_up": False, "inference.stream_jobs": 2, "inference.threads": 1}
    server = serve(model, **{"vad.stall_flush_ms": 50, **settings})
    with Client(server.url()) as client:
        # All of it is with us at once: after the first utterance no more is taken in until it is answered.
        client.send(start(), audio, STOP)
        assert story(client.rest()) == undisturbed


# Leaving


def test_a_client_that_leaves_abandons_its_work(serve):
    entered, release = threading.Event(), threading.Event()
    calls = []

    def model(audio):
        calls.append(len(audio))
        entered.set()
        assert release.wait(30)
        return {}

    settings = {
        "inference.threads": 1,
        "inference.per_stream": 8,
        "inference.warm_up": False,
        "simple.max_chunk_s": 0.1,
    }
    server = serve(model, **settings)
    with Client(server.url("simple")) as client:
        client.send(start(), ONE_SECOND)
        assert entered.wait(30)
    scheduler = server.service.scheduler
    while scheduler.depths()["final"]:  # the queued calls go away with the client
        pass
    release.set()
    assert stream(server.url("simple"), start()) == []
    assert len(calls) == 1


# Back-pressure


def test_a_fast_sender_is_held_back_and_never_closed(serve):
    """A whole file at full speed into a model that stands still: memory stays bounded, pings are answered, nothing is
    lost.
    """
    go = threading.Event()
    entered = threading.Event()

    def model(audio):
        entered.set()
        assert go.wait(60)
        return {"count": len(audio)}

    server = serve(model, **{"limits.buffered_audio_s": 2, "inference.warm_up": False, "simple.max_chunk_s": 5})
    seconds = 120
    with Client(server.url("simple")) as client:
        client.send(start())
        sender = threading.Thread(target=lambda: client.send(*pieces(bytes(32_000 * seconds), 4096), STOP))
        sender.start()
        assert entered.wait(30)
        sender.join(2)
        assert sender.is_alive(), "the client could send two minutes of audio into a model that stands still"
        go.set()
        sender.join(60)
        assert not sender.is_alive()
        assert sum(event["count"] for event in client.rest()) == seconds * 16_000
        assert client.close_code == 1000


def test_groups_larger_than_the_buffer_do_not_wait_for_audio_that_is_held_back(serve):
    server = serve(**{"simple.min_chunk_ms": 3000, "limits.buffered_audio_s": 2})
    events = stream(server.url("simple"), start(), ONE_SECOND * 10)
    assert sum(event["count"] for event in events) == 160_000


def test_a_bug_of_ours_is_told_once_and_closes_1011(serve, monkeypatch, caplog):
    def broken(self, data):
        raise ZeroDivisionError("a bug")

    server = serve()
    monkeypatch.setattr("voxgate.session.routes.base.RouteHandler.feed", broken)
    with Client(server.url()) as client:
        client.send(start())
        with contextlib.suppress(ConnectionClosed):  # the server may be faster than the rest of the audio
            client.send(*[bytes(640)] * 50)
        assert client.rest() == [
            {"type": "error", "message": "Internal server error", "code": "internal", "channel": 0}
        ]
        assert client.close_code == 1011
    assert "a bug" in caplog.text
