"""However a stream ends, nothing of it stays: what was its own is freed at once, without the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.server import ServerProtocol

from helpers.grpc_client import GrpcClient
from helpers.raw import Raw
from helpers.wire import PAUSE, STOP, Client, bursts, encode, pieces, start
from voxgate import InferenceError, Model
from voxgate.audio.decoder import StreamDecoder
from voxgate.endpoints.grpc.endpoint import GrpcEndpoint
from voxgate.endpoints.websocket import WebSocket
from voxgate.inference.engine.base import Job, State
from voxgate.proto.voxgate import ClientMessage
from voxgate.protocol.events import Segment
from voxgate.server.http import HttpProtocol
from voxgate.server.websocket import WebSocketProtocol
from voxgate.session.backlog import Backlog
from voxgate.session.inbox import Inbox
from voxgate.session.record import SessionRecord
from voxgate.session.routes.base import RouteHandler
from voxgate.session.routes.calls import ModelCall
from voxgate.session.routes.reorder import PendingReply, ReorderBuffer
from voxgate.session.routes.segment_metrics import SegmentMetrics
from voxgate.session.send_queue import SendQueue
from voxgate.session.session import Session
from voxgate.session.timers import Timers
from voxgate.session.work import Work

OWN = (
    *(
        SessionRecord,
        SegmentMetrics,
        ModelCall,
        Backlog,
        Inbox,
        Session,
        Timers,
        Work,
        Job,
        SendQueue,
        ReorderBuffer,
        PendingReply,
        RouteHandler,
        Segment,
        State,
        StreamDecoder,
        WebSocket,
        GrpcEndpoint,
    ),
    *(HttpProtocol, ServerProtocol, WebSocketProtocol),
)
TALK = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0))
WAIT_S = 30.0


class Whimsical(Model):
    """Does what the loudness of the audio, or the test, asks for."""

    def __init__(self, failure: Exception | None = None, size: int = 0) -> None:
        self.failure = failure
        self.size = size
        self.go_on = threading.Event()
        self.go_on.set()

    def infer(self, audio):
        assert self.go_on.wait(WAIT_S)
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)
        return {"text": "ä" * self.size, "count": len(audio)}

    def open(self):
        return {}

    def step(self, audio, state):
        return self.infer(audio)


def stops(server, route):
    with Client(server.url(route)) as client:
        client.send(start(notices=True, interim_results=True), *pieces(TALK, 3200), PAUSE, *pieces(TALK, 3200), STOP)
        client.rest()


def starts_anew(server, route):
    with Client(server.url(route)) as client:
        client.send(start(probabilities=True), *pieces(TALK, 3200), start(), TALK, STOP)
        client.rest()


def leaves(server, route):
    with Client(server.url(route)) as client:
        client.send(start(notices=True), *pieces(TALK, 3200))
        client.receive()


def leaves_while_the_model_runs(server, route):
    server.service.model.go_on.clear()
    with Client(server.url(route)) as client:
        client.send(start(), *pieces(TALK, 3200))
        while not server.service.scheduler.depths()["running"]:
            time.sleep(0.001)
    server.service.model.go_on.set()


def resets(server, route):
    client = Raw(server.port).open(f"/api/v1/{route}")
    client.say(start())
    client.say(TALK)
    client.reset()


def reads_nothing_and_resets(server, route):
    client = Raw(server.port).open(f"/api/v1/{route}")
    client.say(start())
    client.say(TALK)
    client.say(PAUSE)
    answered = server.service.scheduler.counts().answered
    while server.service.scheduler.counts().answered < answered + 1 or not _is_unread(server):
        time.sleep(0.001)
    client.reset()


def _is_unread(server) -> bool:
    """The socket takes no more of what is to be sent."""
    return all(one.transport.get_write_buffer_size() for one in list(server.server.server_state.connections))


def sends_too_much(server, route):
    with Client(server.url(route)) as client:
        client.send(start(), TALK, bytes(2 * 2**20))
        client.rest()


def sends_junk(server, route):
    with Client(server.url(route)) as client:
        client.send(start(), TALK, *["{"] * 8)
        client.rest()


def sends_no_frames(server, route):
    client = Raw(server.port).open(f"/api/v1/{route}")
    client.say(start())
    client.send(b"\xff" * 100)
    client.wait_for_end()
    client.socket.close()


def is_too_slow(server, route):
    with Client(server.url(route)) as client:
        client.rest()


def is_refused(server, route):
    with contextlib.suppress(Exception), Client(server.url("nothing")):
        pass


def is_abandoned_by_a_bug(server, route):
    def feed(self, data):
        raise ZeroDivisionError

    before, RouteHandler.feed = RouteHandler.feed, feed
    try:
        with Client(server.url("simple")) as client:
            client.send(start(), TALK)
            client.rest()
    finally:
        RouteHandler.feed = before


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left(before: set[int]) -> Counter[str]:
    return Counter(
        type(one).__name__ for one in gc.get_objects() if issubclass(type(one), OWN) and id(one) not in before
    )


def check(server: Any, end: Callable[[Any, str], None], route: str) -> None:
    end(server, route)  # what the first of its kind leaves, all others share
    settle(server)
    with no_collector():
        before = {id(one) for one in gc.get_objects() if issubclass(type(one), OWN)}
        for _ in range(2):
            end(server, route)
            settle(server)
        until_s = time.monotonic() + WAIT_S
        while (remaining := left(before)) and time.monotonic() < until_s:  # the loop and the workers may still be at it
            time.sleep(0.01)
        assert not remaining


def until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.001)


def settle(server: Any) -> None:
    service, state = server.service, server.server.server_state
    until(lambda: not (state.connections or service.connections or service.scheduler.pending))


ENDS = [
    *(stops, starts_anew, leaves, leaves_while_the_model_runs, resets, sends_too_much, sends_junk, sends_no_frames),
    *(is_too_slow, is_refused, is_abandoned_by_a_bug),
]


@pytest.mark.parametrize("route", ["segmented", "simple", "stateful"])
@pytest.mark.parametrize("end", ENDS)
def test_nothing_stays(serve, end, route, caplog):
    caplog.set_level("CRITICAL")  # what pytest keeps of a record would keep the stream
    server = serve(Whimsical(), **{"inference.warm_up": False, "limits.start_timeout_s": 0.3})
    check(server, end, route)


@pytest.mark.parametrize("route", ["segmented", "simple", "stateful"])
@pytest.mark.parametrize("failure", [InferenceError("no"), ZeroDivisionError("a bug")])
def test_nothing_stays_of_calls_that_failed(serve, failure, route, caplog):
    caplog.set_level("CRITICAL")
    check(serve(Whimsical(failure), **{"inference.warm_up": False}), stops, route)


@pytest.mark.parametrize("route", ["segmented", "simple", "stateful"])
def test_nothing_stays_of_what_was_not_read(serve, route, caplog):
    server = serve(Whimsical(size=4_000_000), **{"inference.warm_up": False})
    check(server, reads_nothing_and_resets, route)


def test_no_calls_are_made_for_a_client_that_does_not_read(serve):
    """What waits for it is bounded by `limits.unsent_bytes` and the calls that ran when so much waited, also when many
    more were pending by then.
    """
    model = Whimsical(size=2_000_000)
    settings = {"inference.warm_up": False, "inference.per_stream": 2, "limits.unsent_bytes": 1_000_000}
    server = serve(model, **settings)
    bursts_s = [(1.5 * i + 0.5, 1.5 * i + 1.0) for i in range(18)]
    vad = {"silence_duration_ms": 200, "prefix_padding_ms": 0}
    model.go_on.clear()
    with Raw(server.port, receive_buffer_bytes=65_536).open("/api/v1/segmented") as client:
        client.say(start(vad=vad), *pieces(encode(bursts(*bursts_s, length_s=27.5)), 3200), STOP)
        (connection,) = server.service.connections
        until(lambda: connection._work is not None and connection._work.handler.pending == 18)
        model.go_on.set()
        until(lambda: connection._send_queue.is_full and not server.service.scheduler.pending)
        # Two were asked for at once; one more may be in the kernel, one in the socket's buffer, one on its way there.
        assert server.service.scheduler.counts().answered <= 6
        events = client.rest()
    assert [event["type"] for event in events].count("segment") == 18
    assert client.close_code == 1000


# Over gRPC


def grpc_stops(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route, notices=True), *pieces(TALK, 3200), PAUSE, *pieces(TALK, 3200), STOP)
        client.rest()


def grpc_is_cancelled(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route, notices=True), *pieces(TALK, 3200))
        client.receive()
        client.call.cancel()
        client.half_close()


def grpc_is_cancelled_while_the_model_runs(server, route):
    server.service.model.go_on.clear()
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route), *pieces(TALK, 3200))
        until(lambda: server.service.scheduler.depths()["running"] > 0)
        client.call.cancel()
        client.half_close()
        until(lambda: not server.service.connections)
    server.service.model.go_on.set()


def grpc_breaks(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route), TALK)
        client.call.initial_metadata()
    client.half_close()


def grpc_sends_too_much(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route), TALK, bytes(2 * 2**20))
        client.rest()


def grpc_sends_junk(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route=route), TALK, *[ClientMessage()] * 8)
        client.rest()


def grpc_is_too_slow(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open()
        client.rest()


def grpc_is_refused(server, route):
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(route="no"))
        client.rest()


GRPC_ENDS = [
    *(grpc_stops, grpc_is_cancelled, grpc_is_cancelled_while_the_model_runs, grpc_breaks, grpc_sends_too_much),
    *(grpc_sends_junk, grpc_is_too_slow, grpc_is_refused),
]


@pytest.mark.parametrize("route", ["segmented", "stateful"])
def test_nothing_stays_of_a_call_of_grpc(serve, route, caplog):
    caplog.set_level("CRITICAL")
    settings = {"grpc.port": 0, "inference.warm_up": False, "limits.start_timeout_s": 0.3}
    server = serve(Whimsical(), **settings)
    for end in GRPC_ENDS:
        check(server, end, route)
