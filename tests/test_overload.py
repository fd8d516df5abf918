"""What a client sees when the model does not keep up: a call's time is bounded, and so is what waits."""

from __future__ import annotations

import threading
import time

import numpy as np

from voxgate.service import Service
from wire import Client, encode, start

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

    settings = {"inference.threads": 1, "inference.deadline_s": 0.2, "inference.warm_up": False}
    server = serve(stuck, **settings)
    with Client(server.url("simple")) as client:
        client.send(start(), SECOND)
        event = client.receive()
        assert (event["type"], event["code"]) == ("error", "inference_failed")
        assert event["message"] == "The model gave no answer within 0.2 s"
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
