"""What a client sees when the model does not keep up: a call's time is bounded, and so is what waits."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from helpers.wire import STOP, Client, bursts, encode, pieces, refused, start
from voxgate.models import Model
from voxgate.service.service import Service

SECOND = encode(np.zeros((1, 16_000)))


def settle(service: Service, reason: str | None) -> None:
    """Waits for what the engine's clock brings about."""
    end_s = time.monotonic() + 30
    while service.not_ready != reason:
        assert time.monotonic() < end_s, f"still {service.not_ready!r}, not {reason!r}"


def test_a_call_that_does_not_return_is_an_error_and_makes_the_server_not_ready(serve):
    gate = threading.Event()

    def stuck(audio):
        assert gate.wait(30)
        return {"count": len(audio)}

    settings = {"inference.threads": 1, "inference.deadline_s": 1, "inference.warm_up": False}
    server = serve(stuck, **settings)
    with Client(server.url("simple")) as client:
        client.send(start(), SECOND)
        event = client.receive()
        assert (event["type"], event["code"]) == ("error", "inference_failed")
        assert event["message"] == "The model gave no answer within 1 s"
        settle(server.service, "no worker makes progress")
        gate.set()
        settle(server.service, None)
        client.send(SECOND)
        assert client.receive()["count"] == 16_000


def test_what_may_wait_of_one_stream_is_bounded(serve):
    settings = {
        "inference.stream_jobs": 1,
        "inference.per_stream": 4,
        "inference.threads": 1,
        "inference.warm_up": False,
        "simple.max_chunk_s": 0.25,
    }
    gate = threading.Event()

    def slow(audio):
        assert gate.wait(30)
        return {"count": len(audio)}

    server = serve(slow, **settings)
    with Client(server.url("simple")) as client:
        client.send(start(), SECOND * 2)
        while server.service.scheduler.counts().refused == 0:
            pass
        # One runs or waits, and the others are too many for now; none of them fails for it.
        gate.set()
        events = [client.receive() for _ in range(8)]
    assert [event["count"] for event in events] == [4000] * 8


class Gate:
    """A model that answers when it may."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.calling = threading.Event()

    def __call__(self, audio):
        self.calling.set()
        assert self.opened.wait(30)
        return {"count": len(audio)}


def until_refused(url: str) -> None:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        try:
            with Client(url):
                pass
        except InvalidStatus:
            return
    raise AssertionError("everybody is let in")


def test_while_calls_wait_for_the_model_new_streams_are_refused_and_the_others_go_on(serve):
    gate = Gate()
    settings = {"inference.threads": 1, "inference.warm_up": False, "limits.queue_wait_s": 0.2}
    server = serve(lambda audio: gate(audio), **settings)
    with Client(server.url("simple")) as first, Client(server.url("simple")) as second:
        first.send(start(), SECOND)
        assert gate.calling.wait(30)
        with Client(server.url("simple")):
            pass  # only the model is busy, nothing waits
        second.send(start(), SECOND)
        until_refused(server.url("simple"))
        status, headers, body = refused(server.url("segmented"))
        assert (status, body["code"]) == (503, "queue_wait")
        assert int(headers["retry-after"]) > 0
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.http("/api/v1/ready"), timeout=30)
        with caught.value as answer:
            assert (answer.status, json.load(answer)["status"]) == (503, "not ready")
        gate.opened.set()
        for client in (first, second):
            client.send(SECOND, STOP)
            assert sum(event["count"] for event in client.rest()) == 32_000


def test_when_the_audio_of_all_streams_fills_its_room_the_greedy_one_is_held_back(serve):
    gate = Gate()
    settings = {
        "inference.threads": 1,
        "inference.warm_up": False,
        "simple.max_chunk_s": 1.0,
        "limits.total_buffered_audio_s": 6,
        "limits.queue_wait_s": 3600,
    }
    server = serve(lambda audio: gate(audio), **settings)
    buffered = server.service.audio_budget
    with Client(server.url("simple")) as modest, Client(server.url("simple")) as greedy:
        modest.send(start(), SECOND)
        assert gate.calling.wait(30)
        greedy.send(start(), *[SECOND] * 20)
        until_refused(server.url("simple"))
        status, headers, body = refused(server.url("simple"))
        assert (status, body) == (
            503,
            {"error": "more than 6 s of audio wait for the model", "code": "buffered_audio"},
        )
        assert int(headers["retry-after"]) > 0
        before_s = buffered.total_s
        assert 6 <= before_s < 8
        modest.send(SECOND)
        while buffered.total_s < before_s + 1:  # it is still heard
            pass
        assert buffered.total_s == before_s + 1
        gate.opened.set()
        for client, n_seconds in ((modest, 2), (greedy, 20)):
            client.send(STOP)
            assert sum(event["count"] for event in client.rest()) == n_seconds * 16_000
    while server.service.streams:
        pass
    assert buffered.total_s == 0


@contextlib.contextmanager
def flood(url: str, n_streams: int) -> Iterator[None]:
    """Streams that send as fast as the server reads, and are cut off in the end."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(url)) for _ in range(n_streams)]

        def one(client: Client) -> None:
            with contextlib.suppress(ConnectionClosed):
                client.send(start())
                while True:
                    client.send(SECOND)

        threads = [threading.Thread(target=one, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for client in clients:
                client.socket.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


class Slow(Model):
    """Never as fast as it is asked, on every route, until it may be."""

    def __init__(self) -> None:
        self.may_be_fast = threading.Event()

    def infer(self, audio):
        self.may_be_fast.wait(0.3)
        return {"count": len(audio)}

    def open(self):
        return {"count": 0}

    def step(self, audio, state):
        state["count"] += len(audio)
        return self.infer(audio)

    def finish(self, state):
        return {"total": state["count"]}


@pytest.mark.parametrize("route", ["simple", "stateful", "segmented"])
def test_after_an_overload_results_and_errors_cover_all_audio(serve, route):
    """A stream among others that flood the server gets errors; then its audio is heard again."""
    model = Slow()
    settings = {
        "inference.threads": 1,
        "inference.max_jobs": 2,
        "inference.deadline_s": 1,
        "inference.warm_up": False,
        "limits.buffered_audio_s": 4,
        "limits.queue_wait_s": 3600,
        "simple.max_chunk_s": 1.0,
        "vad.silence_duration_ms": 200,
    }
    server = serve(model, **settings)
    speech = encode(bursts((0.2, 0.6), length_s=1.0))
    n_seconds, events = 0, []
    try:
        with Client(server.url(route)) as victim:
            victim.send(start(notices=True))
            with flood(server.url("simple"), 12):
                # Until some of it was refused for as long as a call may wait.
                while not any(event.get("code") == "overloaded" for event in events):
                    assert n_seconds < 300, "the others are no flood any more"
                    victim.send(speech)
                    n_seconds += 1
                    with contextlib.suppress(TimeoutError):
                        while True:
                            events.append(json.loads(victim.socket.recv(0.05)))
            model.may_be_fast.set()
            victim.send(*[speech] * 20, STOP)  # more than there is room for
            while (event := victim.receive()) is not None:
                events.append(event)
                assert {event["type"] for event in events[-30:]} != {"progress"}, "it waits for ever"
            assert victim.close_code == 1000
    finally:
        model.may_be_fast.set()
    n_seconds += 20
    finished = events[-1]
    assert finished["type"] == "finished"
    assert finished["received_s"] == finished["processed_s"] == n_seconds
    segments = [event for event in events if event["type"] == "segment"]
    errors = [event for event in events if event["type"] == "error"]
    assert {event["code"] for event in errors} <= {"overloaded", "inference_failed"}
    assert (finished["results"], finished["errors"]) == (len(segments), len(errors))
    if route == "segmented":
        assert len(segments) + len(errors) == n_seconds
        return
    # An error has no times: it stands for what lies between its neighbours, and takes up room there.
    end_s, has_error = 0.0, False
    for event in events:
        if event["type"] == "segment":
            assert event["start_time"] == end_s or (has_error and event["start_time"] > end_s)
            end_s, has_error = event["end_time"], False
        elif event["type"] == "error":
            has_error = True
    assert end_s == n_seconds
    counted = sum(event.get("count", 0) for event in segments)
    missed = n_seconds * 16_000 - counted
    assert missed >= 0
    assert segments[-1]["end_time"] == n_seconds


def test_one_interim_of_a_channel_runs_at_a_time_however_many_threads_there_are(serve):
    """Audio comes as fast as the server reads, and the model's calls keep all threads busy."""
    lock = threading.Lock()
    running: list[int] = []
    together: list[list[int]] = []

    def model(audio):
        with lock:
            running.append(len(audio))
            together.append(list(running))
        for _ in range(20_000):
            pass
        with lock:
            running.remove(len(audio))
        return {"count": len(audio)}

    settings = {
        "inference.threads": 8,
        "inference.warm_up": False,
        "vad.interim_interval_ms": 50,
        "vad.silence_duration_ms": 200,
    }
    server = serve(model, **settings)
    talk = encode(bursts(*[(k + 0.2, k + 0.7) for k in range(20)], length_s=20.5))
    with Client(server.url()) as client:
        client.send(start(interim_results=True), *pieces(talk, 640), STOP)
        events = client.rest()
    finals = [event["count"] for event in events if event["type"] == "segment" and event["is_final"]]
    assert len(finals) == 20
    interims = [[length for length in lengths if length not in finals] for lengths in together]
    assert any(interims)
    assert [lengths for lengths in interims if len(lengths) > 1] == []
