"""Sessions whose audio comes in a container, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import numpy as np
import pytest

from helpers.media import RATE, SPEECH, decode_file, live_speech, speech
from helpers.wire import FLUSH, PAUSE, STOP, Client, encode, of_type, pieces, start, story, stream
from voxgate.audio.containers import MediaStream
from voxgate.audio.containers.encoding import encode as encode_file
from voxgate.models import Model
from voxgate.protocol.formats import CONTAINERS, AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start
from voxgate.session.decoding import Decoding

pytest.importorskip("av")

ROUTES = ("simple", "segmented", "stateful")


def media(container: str = "auto", **options: Any) -> dict[str, Any]:
    return {"request": "start", "format": {"container": container}, **options}


class Both(Model):
    """Served on every route; answers with the number of samples, and their sum."""

    def infer(self, audio):
        return {"count": len(audio)}

    def open(self):
        return [0]

    def step(self, audio, state):
        state[0] += len(audio)
        return {"count": state[0]}


@pytest.fixture
def server(serve):
    return serve(Both(), **{"simple.min_chunk_ms": 500})


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_stream_tells_its_format(server, route, container):
    events = stream(server.url(route), media(notices=True), *pieces(live_speech(container), 1000))
    (started,) = of_type(events, "started")
    assert events[0] == started
    assert started["format"] == {"container": container, "channels": 1, "sample_rate": RATE}
    (finished,) = of_type(events, "finished")
    assert finished["errors"] == 0
    assert 1.99 <= finished["received_s"] < 2.2
    assert finished["results"] == len(of_type(events, "segment")) > 0


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("container", ["mp3", "webm", "flac", "mp4"])
def test_results_are_those_of_the_same_audio_as_pcm_however_it_is_cut(server, route, container):
    data = live_speech(container)
    pcm, format = decode_file(data, container, RATE)
    encoding = {"f32": "f32", "s16": "s16"}[format.pcm_encoding]
    wanted = stream(server.url(route), start(format.sample_rate, encoding=encoding), pcm)
    for cut in (1 << 20, 4096, 333, *((17, 1) if len(data) < 20_000 else ())):
        parts = list(pieces(data, cut))
        got = stream(server.url(route), media(container), *parts[:5], b"", *parts[5:])
        if route == "segmented":
            assert story(got) == story(wanted), cut
        assert covered(got, route) == covered(wanted, route), cut


def test_what_one_turn_of_the_loop_does_not_take_follows_in_order(serve):
    """Opus packs minutes into a message, and the model is slow: the rest waits behind the limits that PCM has."""
    gate = threading.Event()
    gate.set()  # for the warm-up

    def slow(audio):
        assert gate.wait(30)
        return {"count": len(audio)}

    server = serve(slow, **{"limits.buffered_audio_s": 2, "simple.min_chunk_ms": 500, "inference.per_stream": 1})
    gate.clear()
    data = encode_file(np.tile(SPEECH, 4), RATE, "webm")
    with Client(server.url("simple")) as client:
        client.send(media(notices=True), data[:5000])
        client.until("started")
        client.send(data[5000:])  # 50 s, past the inbox while nothing waits there
        lags = [client.until("progress")[-1] for _ in range(2)]
        assert max(lag["lag_s"] for lag in lags) <= 4
        assert lags[-1]["received_s"] <= 5
        gate.set()
        client.send(STOP)
        events = client.rest()
        assert client.close_code == 1000
    segments = of_type(events, "segment")
    assert [segment["start_time"] for segment in segments[1:]] == [segment["end_time"] for segment in segments[:-1]]
    assert events[-1]["received_s"] == pytest.approx(4 * SPEECH.shape[1] / RATE, abs=0.01)
    assert sum(segment["count"] for segment in segments) == round(events[-1]["received_s"] * RATE)


def covered(events: list[dict[str, Any]], route: str) -> tuple[float, float, int]:
    """Where results begin and end, and how many samples the model got."""
    segments = of_type(events, "segment")
    counts = [segment["count"] for segment in segments]
    return segments[0]["start_time"], segments[-1]["end_time"], counts[-1] if route == "stateful" else sum(counts)


@pytest.mark.parametrize("route", ROUTES)
def test_each_session_begins_a_new_container(server, route):
    data = live_speech("mp3")
    with Client(server.url(route)) as client:
        client.send(media("mp3", notices=True), data, PAUSE)
        first = client.until("finished")
        client.send(data, PAUSE)  # resumes with the last start
        second = client.until("finished")
        client.send(media("mp4", notices=True), live_speech("mp4"), STOP)
        third = client.rest()
    for events, container in ((first, "mp3"), (second, "mp3"), (third, "mp4")):
        (started,) = of_type(events, "started")
        assert started["format"]["container"] == container
        assert of_type(events, "error") == []
    assert first[-1]["received_s"] == second[-1]["received_s"]
    assert covered(first, route) == covered(second, route)


@pytest.mark.parametrize("route", ROUTES)
def test_a_container_that_breaks_off_gives_what_is_owed_and_then_an_error(server, route):
    data = live_speech("mp4")
    part = data[: len(data) * 2 // 3]
    with Client(server.url(route)) as client:
        client.send(media(notices=True), part, PAUSE)
        events = client.until("finished")
        error = events[-2]
        assert (error["type"], error["code"]) == ("error", "truncated_media")
        assert error["message"] == "the stream ended inside of the MP4 container"
        finished = events[-1]
        assert finished["errors"] == 1
        assert finished["results"] == len(of_type(events, "segment")) > 0
        assert 1.0 < finished["received_s"] == finished["processed_s"] < 2.0
        client.send(media("mp3"), live_speech("mp3"), STOP)  # the stream goes on
        assert of_type(client.rest(), "error") == []
        assert client.close_code == 1000


@pytest.mark.parametrize("route", ROUTES)
def test_after_an_error_audio_is_dropped_until_the_next_request_for_a_session(server, route):
    with Client(server.url(route)) as client:
        client.send(media(notices=True), b"GIF89a" + bytes(1000), b"more", FLUSH, b"and more")
        events = client.until("finished")
        assert [event["type"] for event in events] == ["error", "finished"]
        assert events[0]["code"] == "unsupported_media"
        assert events[0]["message"].startswith("this looks like ")
        assert "expected WebM, Ogg, WAV, FLAC, MP3, MP4 or AAC" in events[0]["message"]
        assert events[1] == {
            **{"type": "finished", "received_s": 0.0, "processed_s": 0.0},
            **{"results": 0, "errors": 1, "channel": 0},
        }
        client.send(PAUSE, live_speech("mp3"), STOP)  # stop, then a new container
        rest = client.rest()
    assert [event["type"] for event in rest if event["type"] in ("error", "started")] == ["started"]
    assert rest[-1]["results"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"container": "avi"},
            'format.container must be one of "auto", "webm", "ogg", "wav", "flac", "mp3", "mp4", "aac", got "avi"',
        ),
        ({"container": 7}, "format.container: expected str, got int 7"),
        ({"container": None}, "format.container: expected str, got null"),
        ({}, "format.channels: expected int, got nothing"),
    ],
)
def test_a_start_says_what_is_allowed(server, options, message):
    events = stream(server.url(), {"request": "start", "format": options})
    assert [event["message"] for event in events] == [message]


@pytest.mark.parametrize(
    ("settings", "vad", "message"),
    [
        ({"limits.channels": 1}, {}, "format.channels must be 1..1, got 2"),
        ({"limits.min_sample_rate": 32_000}, {}, "format.sample_rate must be 32000..192000 Hz, got 16000"),
        (
            {"limits.segment_audio_s": 10},
            {"max_segment_s": 8},
            "vad.max_segment_s must be 1..5 s with 2 channels, got 8",
        ),
    ],
)
def test_the_limits_are_those_of_pcm(serve, settings, vad, message):
    stereo = encode_file(np.concatenate([SPEECH, SPEECH]), RATE, "mp3")
    server = serve(Both(), **settings)
    with Client(server.url()) as client:
        client.send(media(notices=True, vad=vad), stereo, PAUSE)
        events = client.until("finished")
    assert [event["type"] for event in events] == ["error", "finished"]
    assert (events[0]["code"], events[0]["message"]) == ("invalid_start", message)


def test_a_flush_inside_of_a_container_ends_the_segment(server):
    data = live_speech("mp3", 4.0)
    with Client(server.url("segmented")) as client:
        client.send(media("mp3"), data[: len(data) // 2])
        assert client.receive()["type"] == "active"
        client.send(FLUSH)
        flushed = client.until("segment")[-1]
        assert flushed["is_final"]
        client.send(data[len(data) // 2 :], STOP)
        rest = client.rest()
    assert all(segment["start_time"] >= flushed["end_time"] for segment in of_type(rest, "segment"))
    assert of_type(rest, "error") == []


def test_a_limit_that_is_met_after_started_has_a_code(serve):
    server = serve(Both(), **{"media.decoded_s": 1.0})
    with Client(server.url("simple")) as client:
        client.send(media("mp3", notices=True), live_speech("mp3"))
        events = client.until("finished")
    assert events[0]["type"] == "started"
    assert (events[-2]["code"], events[-2]["message"]) == (
        "media_limit",
        "more than 1 s of audio (media.decoded_s)",
    )
    assert 0.8 < events[-1]["received_s"] <= 1.0


def test_a_container_without_a_byte_is_no_error(server):
    with Client(server.url()) as client:
        client.send(media(notices=True), b"", PAUSE)
        assert [event["type"] for event in client.until("finished")] == ["finished"]


def test_a_server_that_drains_answers_what_it_has(serve):
    server = serve(Both(), **{"server.drain_s": 0.2})
    data = live_speech("mp4")
    with Client(server.url("simple")) as client:
        client.send(media(notices=True), data[: len(data) // 2])
        client.until("started")
        server.server.ask_to_end()
        events = client.rest()
        assert client.close_code == 1001
    assert of_type(events, "error") == []
    assert events[-1]["type"] == "finished"
    assert of_type(events, "segment") != []


def test_a_compressed_hour_holds_neither_the_loop_nor_memory(serve):
    """A megabyte of it is minutes of audio: it waits in the client, as PCM does."""
    silence = encode_file(np.zeros((1, 600 * RATE), np.float32), RATE, "mp3")
    server = serve(Both(), **{"limits.buffered_audio_s": 5, "limits.message_bytes": 1 << 24})
    events = stream(server.url("simple"), media("mp3", notices=True), silence)
    assert events[-1]["type"] == "finished"
    assert 600 <= events[-1]["received_s"] < 601
    assert max(event["end_time"] - event["start_time"] for event in of_type(events, "segment")) <= 7
    assert all(event["lag_s"] <= 7 for event in of_type(events, "progress"))


def test_pcm_is_as_before_beside_a_container(server):
    pcm = encode(SPEECH[:, : 2 * RATE])
    alone = stream(server.url(), start(), pcm)
    with Client(server.url()) as other:
        other.send(media("mp3"), live_speech("mp3")[:5000])
        assert stream(server.url(), start(), pcm) == alone
        other.send(STOP)
        assert of_type(other.rest(), "error") == []


def test_a_whole_file_with_its_index_at_the_end(server):
    events = stream(server.url("simple"), media(notices=True), *pieces(speech("mp4"), 10_000))
    assert events[0]["type"] == "started"
    assert of_type(events, "error") == []
    assert 2.0 <= events[-1]["received_s"] < 2.2


@pytest.mark.parametrize("container", ["wav", "mp3"])
def test_channels_may_be_mixed_to_one(server, container):
    data = encode_file(np.concatenate([SPEECH, np.zeros_like(SPEECH)])[:, : 2 * RATE], RATE, container)
    first = {"request": "start", "format": {"container": container, "mono": True}, "notices": True}
    events = stream(server.url("simple"), first, *pieces(data, 3000))
    assert events[0]["format"]["channels"] == 1  # as many as events are about
    assert {event["channel"] for event in events} == {0}
    assert of_type(events, "error") == []
    wanted = stream(server.url("simple"), {**first, "format": {"container": container}}, *pieces(data, 3000))
    assert {event["channel"] for event in of_type(wanted, "segment")} == {0, 1}


def test_work_without_audio_ends_a_turn_of_the_loop():
    """A thousand heads of streams, with nothing behind them, are a message of 64 KiB."""
    s16 = AudioFormat(1, RATE, 16, False)

    class Stream:
        is_local, container = True, "ogg"
        format: AudioFormat | None = None

        async def push(self, data: bytes) -> AsyncGenerator[bytes]:
            self.format = s16
            yield b"head"

        def push_now(self, data: bytes) -> Iterator[bytes]:
            yield from (b"1234", b"", b"", b"5678", b"")

    happened: list[bytes | str] = []

    async def feed(pcm: bytes) -> bool:
        happened.append(pcm)
        return True

    async def run() -> None:
        opened: list[Start] = []
        decoding = Decoding(
            Start(ContainerFormat("auto")), cast(MediaStream, Stream()), lambda start, _: opened.append(start), feed
        )
        await decoding.push(b"x")
        assert [one.format for one in opened] == [s16]
        rest = decoding.push_now(b"x", happened.append)
        assert rest is not None
        assert happened == [b"head", b"1234"]
        asyncio.get_running_loop().call_soon(happened.append, "others")
        await decoding.go_on(rest)
        assert happened == [b"head", b"1234", "others", b"5678"]

    asyncio.run(run())
