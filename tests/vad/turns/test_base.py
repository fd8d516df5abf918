"""A detector of one's own, served."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import numpy as np
import pytest

from helpers.judges import LongEnough
from helpers.wire import Client, bursts, encode, pieces, start
from voxgate import TurnDetector, TurnQuestion

TALK = encode(bursts((0.5, 0.9), (1.4, 2.6), length_s=4.0))
STOP = {"request": "stop", "disconnect": True}


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
    return body


def turn_of(server: Any) -> dict[str, Any]:
    turn: dict[str, Any] = json.loads(get(server.http("/api/v1/info")))["turn"]
    return turn


def test_a_subclass_says_how_it_judges():
    with pytest.raises(NotImplementedError):
        TurnDetector().judge([TurnQuestion(np.zeros(1, np.float32), None)])


def test_a_server_asks_it(serve):
    LongEnough.asked.clear()
    server = serve(
        **{"turn.detector": "helpers.judges:LongEnough", "turn.deadline_ms": 10_000, "vad.detector": "energy"}
    )
    vad = {"prefix_padding_ms": 0}
    with Client(server.url()) as client:
        client.send(start(vad=vad, turn={"min_silence_ms": 300, "threshold": 0.6}, notices=True))
        client.send(*pieces(TALK, 640), STOP)
        events = client.rest()
    assert events[0]["turn_detector"] == "helpers.judges:LongEnough"
    # The first pause is not the end, though 0.5 s long; nothing but the detector ends the second one after 0.3 s.
    finals = [event for event in events if event["type"] == "segment"]
    assert [(event["turn_probability"], event["segment_id"]) for event in finals] == [(0.75, 0)]
    assert len(LongEnough.asked) == 2
    info = turn_of(server)
    assert info["detector"] == "helpers.judges:LongEnough"
    assert info["options"]["min_silence_ms"] == {
        **{"default": 192, "min": 50, "max": 5000, "unit": "ms", "type": "int"},
        "about": info["options"]["min_silence_ms"]["about"],
    }
    with Client(server.url()) as client:
        client.send(start(vad=vad, turn={"threshold": 2}))
        assert client.receive()["message"] == "turn.threshold must be 0.01..1, got 2.0"
        client.send(start(vad=vad, turn={"enabled": False}, notices=True))
        assert "turn_detector" not in client.receive()
    assert {name: n for name, n in server.service.tally.turns.items() if n} == {"finished": 1, "unfinished": 1}
    assert server.service.tally.turn_wait_s > 0


def test_a_server_without_one_says_so(serve):
    server = serve()
    with Client(server.url()) as client:
        client.send(start(turn={"threshold": 0.6}))
        assert client.receive()["message"].startswith("turn: the server has no turn detector")
        client.send(start(turn={"threshold": "high"}))
        assert client.receive()["message"] == 'turn.threshold: expected float or null, got str "high"'
    assert turn_of(server)["detector"] is None
