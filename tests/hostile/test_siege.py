"""A few hundred hostile clients of all kinds at once: nothing stays behind, and nobody else notices."""

from __future__ import annotations

import pytest

pytest.importorskip("grpc")

from helpers.grpc_client import stream as grpc_stream
from helpers.wire import start
from hostile.kinds import KINDS
from hostile.leftovers import held, settle
from hostile.siege import Neighbour, besiege

CONNECTIONS = 400


def test_a_siege(serve):
    server = serve(**{"grpc.port": 0, "limits.handshake_timeout_s": 2, "limits.streams_per_address": 1000})
    neighbour = Neighbour(server.url())
    assert len(neighbour.alone) == 6
    grpc_stream(server.server.grpc_port, start(), bytes(3200))  # the library keeps some descriptors
    before = held(server)
    with neighbour:
        outcomes = besiege(server.port, server.server.grpc_port, CONNECTIONS, seed=1)
    assert outcomes.total() == CONNECTIONS
    assert len({outcome.partition(":")[0] for outcome in outcomes}) > len(KINDS) / 2
    settle(server, before)
    assert server.loop_errors == []
    assert neighbour.beside
    assert all(events == neighbour.alone for events in neighbour.beside)
