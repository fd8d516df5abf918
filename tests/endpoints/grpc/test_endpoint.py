"""How calls end, and what back-pressure does to their clients, on real sockets."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import pytest

from helpers.grpc_client import GrpcClient, stream
from helpers.wire import PAUSE, bursts, encode, of_type, pieces, start
from voxgate import Model
from voxgate.endpoints.grpc import endpoint
from voxgate.endpoints.grpc.endpoint import GrpcEndpoint
from voxgate.endpoints.grpc.native import NativeGrpcWire
from voxgate.observe.metrics import Tally
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

AUDIO = encode(bursts((0.5, 1.5), (2.2, 3.0), length_s=4))
C = grpc.StatusCode


def until(condition):
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.001)


class Gate(Model):
    """Answers when it may."""

    def __init__(self):
        self.may = threading.Event()

    def infer(self, audio):
        assert self.may.wait(30)
        return {"count": len(audio)}


@pytest.fixture
def gated(serve):
    model = Gate()
    settings = {"grpc.port": 0, "limits.buffered_audio_s": 1, "inference.warm_up": False}
    server = serve(model, **settings)
    yield server
    model.may.set()


def ends(server):
    tally = server.service.tally
    return {key: n for key, n in tally.ends["simple", "grpc"].items() if n}


def test_a_fast_sender_with_a_slow_model_is_slowed_and_loses_nothing(gated):
    """And another call on the same connection is not."""
    port, flood = gated.server.grpc_port, pieces(bytes(8_000_000), 16_000)
    n_sent = 0

    def counted():
        nonlocal n_sent
        for piece in flood:
            yield piece
            n_sent += 1

    with GrpcClient(port) as client:
        from helpers.grpc_client import audio, request
        from voxgate.proto.voxgate import STREAM, ClientMessage, ServerMessage

        def messages():
            yield request(start(route="simple"))
            yield from map(audio, counted())

        call = client.channel.stream_stream(STREAM, ClientMessage.SerializeToString, ServerMessage.FromString)
        flooded = call(messages(), timeout=60)
        until(lambda: gated.service.tally.limit_hits["buffered_audio_s"])
        client.open(start(notices=True), PAUSE)
        assert [client.receive()["type"] for _ in range(2)] == ["started", "finished"]
        assert n_sent < 100  # of 500
        assert gated.service.audio_budget.total_s < 3
        gated.model.may.set()
        assert sum(event.segment.output["count"] for event in flooded) == 4_000_000
        assert flooded.code() is C.OK
        client.half_close()


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_cancelled_call_frees_everything_at_once(gated, is_behind):
    with GrpcClient(gated.server.grpc_port) as client:
        client.open(start(route="simple"), *[bytes(32_000)] * (20 if is_behind else 1))
        until(lambda: gated.service.tally.limit_hits["buffered_audio_s"] or not is_behind)
        until(lambda: gated.service.scheduler.depths()["running"] == 1)
        client.call.cancel()
        until(lambda: gated.service.streams == 0)
        until(lambda: ends(gated) == {"left": 1})
        client.half_close()
    assert gated.service.audio_budget.total_s == 0
    assert not gated.service.connections


@pytest.mark.parametrize("how", ["cancel", "deadline", "disconnect"])
def test_an_idle_client_that_leaves_counts_as_left(serve, monkeypatch, how):
    """The library reports the end of its messages before it cancels the call."""
    monkeypatch.setattr(endpoint, "CANCEL_SETTLE_S", 10)
    server = serve(**{"grpc.port": 0})
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route="simple", notices=True), timeout_s=0.5 if how == "deadline" else 30)
        assert client.receive()["type"] == "started"
        if how == "cancel":
            client.call.cancel()
        elif how == "deadline":
            assert client.code is C.DEADLINE_EXCEEDED
    client.half_close()
    until(lambda: ends(server))
    assert ends(server) == {"left": 1}


def test_the_deadline_of_a_client_ends_its_call(gated):
    with GrpcClient(gated.server.grpc_port) as client:
        client.open(start(route="simple"), bytes(32_000), timeout_s=0.3)
        assert (client.rest(), client.code) == ([], C.DEADLINE_EXCEEDED)
        until(lambda: gated.service.streams == 0)
    assert ends(gated) == {"left": 1}


def test_a_connection_that_breaks_ends_its_calls(gated):
    with GrpcClient(gated.server.grpc_port) as client:
        client.open(start(route="simple"), bytes(32_000))
        until(lambda: gated.service.scheduler.depths()["running"] == 1)
    client.half_close()
    until(lambda: gated.service.streams == 0)


def test_a_task_that_is_cancelled_while_the_call_ends_stays_cancelled():
    """As the session cancels its writer."""

    class Stalled:
        async def write(self, message):
            await asyncio.Event().wait()

    async def run():
        wire = NativeGrpcWire("simple", Start(AudioFormat(1, 16_000, 16, False)))
        stalled = GrpcEndpoint(wire, Stalled(), 1024, 30, Tally())
        writer = asyncio.create_task(stalled.send(b""))
        await asyncio.sleep(0)
        stalled.leave()
        writer.cancel()
        await asyncio.wait((writer,))
        assert writer.cancelled()

    asyncio.run(run())


def test_a_reader_that_stands_still_is_dropped_after_its_time(serve):
    settings = {"grpc.port": 0, "server.send_timeout_s": 1, "limits.unsent_bytes": 1024}
    server = serve(lambda audio: {"text": "x" * 200_000}, **settings)
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route="simple"), *[bytes(32_000)] * 200)
        until(lambda: server.service.streams == 1)
        until(lambda: server.service.streams == 0)
        assert ends(server) == {"timeout": 1}
        assert {event["type"] for event in client.rest()} == {"segment"}
        assert (client.code, "has read nothing for 1 s" in client.call.details()) == (C.DEADLINE_EXCEEDED, True)


def test_a_slow_reader_gets_everything(serve):
    server = serve(lambda audio: {"n": len(audio), "text": "x" * 50_000}, **{"grpc.port": 0, "limits.unsent_events": 2})
    events = stream(server.server.grpc_port, start(route="simple"), *[bytes(32_000)] * 50)
    assert sum(event["n"] for event in events) == 50 * 16_000


def test_the_end_of_the_server_gives_the_results_and_says_that_it_comes(serve):
    model = Gate()
    server = serve(model, **{"grpc.port": 0, "server.drain_s": 1, "inference.warm_up": False})
    with GrpcClient(server.server.grpc_port) as client, GrpcClient(server.server.grpc_port) as silent:
        client.open(start(notices=True), AUDIO[: 2 * 16_000])
        silent.open()
        assert client.receive()["type"] == "started"
        silent.call.initial_metadata()
        server.server.ask_to_end()
        model.may.set()
        events = client.rest()
        assert (of_type(events, "draining") != [], len(of_type(events, "segment"))) == (True, 1)
        assert (events[-1]["type"], client.code) == ("finished", C.UNAVAILABLE)
        assert (silent.rest(), silent.code) == ([], C.UNAVAILABLE)
        assert "try again" in silent.call.details()
    server.stop()


def test_a_client_that_finishes_during_the_drain_has_all(serve):
    server = serve(**{"grpc.port": 0, "server.drain_s": 30})
    port = server.server.grpc_port
    with GrpcClient(port) as client:
        client.open(start(notices=True), AUDIO)
        client.receive()
        server.server.ask_to_end()
        events = []
        while not of_type(events, "draining"):
            events.append(client.receive())
        with GrpcClient(port) as late:
            late.open(start())
            assert (late.rest(), late.code) == ([], C.UNAVAILABLE)
        client.half_close()
        events += client.rest()
        assert (len(of_type(events, "segment")), client.code) == (2, C.OK)
    server.stop()
