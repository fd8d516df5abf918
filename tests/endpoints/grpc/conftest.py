"""One server for the tests of gRPC that change nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("grpc")

from conftest import LiveServer
from voxgate import Model


class Counting(Model):
    """Says how much audio it got, as text and with words too."""

    def infer(self, audio):
        n_ms = round(len(audio) / 16)
        words = [{"word": "some", "start": 0.0, "end": 0.25}, {"word": f"{n_ms}", "start": 0.25, "end": None}]
        return {"text": f"some {n_ms} wörds", "count": len(audio), "words": words, "flag": True, "mean": 0.1}

    def open(self):
        return {"n": 0}

    def step(self, audio, state):
        state["n"] += len(audio)
        return {"total": state["n"]}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer(Counting(), {"grpc.port": 0, "grpc.reflection": True, "limits.invalid_messages": 3})
    server.start()
    server.wait_started()
    yield server
    server.stop()


@pytest.fixture
def port(server: LiveServer) -> int:
    return server.server.grpc_port
