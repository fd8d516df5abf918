"""What a client sees when the model does not keep up: a call's time is bounded, and so is what waits."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from helpers.wire import STOP, Client, encode, refused, start
from voxgate.service import Service

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
    buffered = server.service.buffered_audio
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
