"""One server for the tests that change nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("grpc")
pytest.importorskip("grpc_status")

from conftest import LiveServer
from helpers.wires import words_of_length


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer(words_of_length, {"grpc.port": 0, "limits.recording_bytes": 2**20 + 2**18})
    server.start()
    server.wait_started()
    yield server
    server.stop()


@pytest.fixture
def port(server: LiveServer) -> int:
    assert server.server.grpc_port is not None
    return server.server.grpc_port
