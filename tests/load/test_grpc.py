"""Live streams over gRPC against a real server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc")

from helpers.wire import bursts
from voxgate import load
from voxgate.client import RefusedError
from voxgate.client.wires.grpc import GrpcConnection
from voxgate.load.grpc import GrpcCall
from voxgate.load.material import BARE

CHUNK_MS = 100


def plan(server: Any, route: str, wire: Any = "native", addr: str = "grpc://127.0.0.1:{}") -> load.Plan:
    target = load.Target.of(addr.format(server.server.grpc_port), route, "good", wire)
    planes = np.asarray(bursts((0.2, 0.6), length_s=1.2), np.float32)[None]
    material = load.make_material(planes, 16_000, 16_000, 1, "s16", CHUNK_MS, BARE)
    return load.Plan(target, material, 14, [], 2, covering=route != "segmented")


def outcome(of: load.Plan, n_streams: int) -> load.Outcome:
    return asyncio.run(load.run(of, n_streams, 0.1, time.perf_counter, 30))


@pytest.mark.parametrize("route", ["segmented", "simple"])
def test_every_stream_is_complete(serve, route):
    server = serve(**{"grpc.port": 0, "auth.tokens": "good"})
    found = outcome(plan(server, route), 3)
    assert (found.counts.started, found.counts.connected, found.counts.completed) == (3, 3, 3)
    assert (found.counts.close_codes, found.counts.failures, found.server) == ({"1000": 3}, {}, None)
    assert found.first_result is not None


def test_refusals_and_errors(serve):
    server = serve(**{"grpc.port": 0, "limits.streams": 1, "limits.session_s": 1})
    counts = outcome(plan(server, "simple", "grpc", "127.0.0.1:{}"), 2).counts
    assert counts.refusals == {"503": 1}
    assert "503" in counts.refusal_reasons
    assert counts.close_codes == {"1008": 1}


def test_nobody_there():
    target = load.Target.of("grpc://127.0.0.1:1", "simple", None)

    class Lone(GrpcCall):
        def ended(self) -> None: ...

    async def connect() -> str | None:
        stream = Lone(target, time.perf_counter)
        await stream.connect()
        return stream.failure

    assert "connection refused" in (asyncio.run(connect()) or "")


@pytest.mark.parametrize("refusal", [None, RefusedError(503, "full", "7")])
def test_a_stream_that_is_aborted_while_it_connects(monkeypatch, refusal):
    calls: list[str] = []

    class Lone(GrpcCall):
        def ended(self) -> None:
            calls.append("ended")

        def opened(self) -> None:
            calls.append("opened")

    class Opened:
        async def close(self) -> None:
            calls.append("closed")

    async def run() -> Lone:
        may, begins = asyncio.Event(), asyncio.Event()

        async def connection(*_: Any) -> Any:
            begins.set()
            await may.wait()
            if refusal is not None:
                raise refusal
            return Opened()

        monkeypatch.setattr(GrpcConnection, "open", connection)
        stream = Lone(load.Target.of("grpc://127.0.0.1:1", "simple", None), time.perf_counter)
        connecting = asyncio.create_task(stream.connect())
        await begins.wait()
        stream.abort("enough")
        may.set()
        await connecting
        return stream

    stream = asyncio.run(run())
    assert (stream.failure, stream.status, stream.refusal_reason) == ("enough", None, "")
    assert calls == (["ended", "closed"] if refusal is None else ["ended"])
