"""Who is refused, with which status, and what each call counts as."""

from __future__ import annotations

import grpc
import pytest

from helpers.grpc_client import GrpcClient, audio, details, refused
from helpers.wire import PAUSE, start
from voxgate import Model
from voxgate.endpoints.grpc import stream_method

C = grpc.StatusCode


def metadata(error: grpc.RpcError) -> dict[str, object]:
    return {key: value for key, value in error.trailing_metadata() if not key.endswith("-bin")}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (start(channels=99), "format.channels"),
        (start(sample_rate=1), "format.sample_rate"),
        (start(vad={"threshold": 2.0}), "vad.threshold"),
        (start(options={"nothing": 1}), "options"),
        (start(route="x"), "route"),
        ({"request": "start"}, "format.channels"),
        ({"request": "flush"}, "message"),
    ],
)
def test_a_start_that_cannot_be_served_names_its_field(port, message, field):
    error = refused(port, message)
    assert error.code() is C.INVALID_ARGUMENT
    told = details(error)
    assert error.details().startswith(field)
    assert [(one.field, one.description) for one in told["BadRequest"].field_violations] == [(field, error.details())]
    assert (told["ErrorInfo"].reason, told["ErrorInfo"].domain) == ("invalid_request", "voxgate")
    assert metadata(error) == {}


class Stateless(Model):
    def infer(self, audio):
        return {}


def test_a_route_that_the_model_lacks(serve):
    port = serve(Stateless(), **{"grpc.port": 0}).server.grpc_port
    error = refused(port, start(route="stateful"))
    assert (error.code(), details(error)["ErrorInfo"].reason) == (C.UNIMPLEMENTED, "not_served")


def test_a_full_server_says_when_to_come_back(serve):
    server = serve(**{"grpc.port": 0, "limits.streams": 1})
    port = server.server.grpc_port
    with GrpcClient(port) as client:
        client.open(start(notices=True))
        assert client.receive()["type"] == "started"
        error = refused(port, start())
        client.half_close()
        assert (client.rest()[-1]["type"], client.code) == ("finished", C.OK)
    told = details(error)
    assert (error.code(), told["ErrorInfo"].reason) == (C.RESOURCE_EXHAUSTED, "streams")
    retry_s = told["RetryInfo"].retry_delay.seconds
    assert 4 <= retry_s <= 9
    assert metadata(error) == {"grpc-retry-pushback-ms": str(1000 * retry_s)}
    assert server.service.admission.refused["streams", "grpc"] == 1


def test_a_server_that_is_not_ready(serve):
    class Waiting(Model):
        def warm_up(self):
            assert server_may.wait(30)

        def infer(self, audio):
            return {}

    import threading

    server_may = threading.Event()
    server = serve(Waiting(), wait=False, **{"grpc.port": 0})
    while server.server.grpc_port is None:
        pass
    error = refused(server.server.grpc_port, start())
    server_may.set()
    server.wait_started()
    assert (error.code(), details(error)["ErrorInfo"].reason) == (C.UNAVAILABLE, "not_ready")
    assert details(error)["RetryInfo"].retry_delay.seconds > 0


def test_tokens_come_as_metadata(serve):
    server = serve(**{"grpc.port": 0, "auth.tokens": "secret"})
    port = server.server.grpc_port
    for metadata in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
        error = refused(port, start(), **metadata)
        assert (error.code(), details(error)["ErrorInfo"].reason) == (C.UNAUTHENTICATED, "unauthorized")
    with pytest.raises(grpc.RpcError) as raised, GrpcClient(port) as client:
        client.info()
    assert raised.value.code() is C.UNAUTHENTICATED
    with GrpcClient(port, authorization="Bearer secret") as client:
        assert client.info()["name"] == "voxgate"
        client.open(start(), bytes(3200))
        client.half_close()
        assert (client.rest(), client.code) == ([], C.OK)


@pytest.mark.parametrize("messages", [(), (start(),)], ids=["no start", "no audio"])
def test_a_client_that_says_nothing(serve, messages):
    server = serve(**{"grpc.port": 0, "limits.start_timeout_s": 0.2, "limits.idle_timeout_s": 0.3})
    with GrpcClient(server.server.grpc_port) as client:
        client.open(*messages)
        events = client.rest()
        assert client.code is C.DEADLINE_EXCEEDED
        limit, text = (
            ("idle_timeout_s", "no message within 0.3 s") if messages else ("start_timeout_s", "no start within")
        )
        assert client.call.details().startswith(text)
        assert [event["code"] for event in events] == ["timeout"] * len(messages)
        assert server.service.tally.limit_hits[limit] == 1


def test_a_client_that_leaves_before_its_first_message(server, port):
    with GrpcClient(port) as client:
        client.open()
        client.half_close()
        assert (client.rest(), client.code) == ([], C.OK)
    with GrpcClient(port) as client:
        client.open()
        client.call.initial_metadata()
        client.call.cancel()
        client.half_close()
    while server.service.streams or server.service.connections:
        pass


def test_too_many_wrong_messages(port):
    with GrpcClient(port) as client:
        client.open(start(), *[audio(b"")] * 2, *[start(route="simple")] * 3)
        assert [event["code"] for event in client.rest()] == ["invalid_start"] * 3
        assert (client.code, client.call.details()[:5]) == (C.INVALID_ARGUMENT, "route")


@pytest.mark.parametrize("n_bytes", [1_048_577, 4_000_000])
def test_a_message_that_is_too_large(server, port, n_bytes):
    limit = server.service.config.limits.message_bytes
    assert limit == 1_048_576
    with GrpcClient(port) as client:
        client.open(start(), bytes(n_bytes))
        assert client.rest() == []
        assert client.code is C.RESOURCE_EXHAUSTED
    while server.service.streams:
        pass


def test_what_the_server_knows_of_a_call(serve, caplog):
    caplog.set_level("INFO")
    server = serve(**{"grpc.port": 0, "metrics.max_age_s": 0, "server.trusted_proxies": "127.0.0.0/8, ::1"})
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with GrpcClient(server.server.grpc_port, traceparent=trace, **{"x-forwarded-for": "10.1.2.3"}) as client:
        client.open(start(notices=True))
        assert client.receive()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert list(server.service.admission._of_address) == ["10.1.2.3"]
        client.send(PAUSE)
        client.half_close()
        client.rest()
    while server.service.streams:
        pass
    tally = server.service.tally
    assert (tally.accepted["segmented", "grpc"], tally.active["segmented", "grpc"]) == (1, 0)
    assert tally.ended["segmented", "grpc"]["completed"] == 1
    assert any("session over" in record.message for record in caplog.records)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_start_that_is_too_large_is_not_parsed(server, is_first):
    hits = server.service.tally.limit_hits["message_bytes"]
    large = start(options={"text": "x" * 1_100_000})
    with GrpcClient(server.server.grpc_port) as client:
        client.open(*([] if is_first else [start()]), large)
        assert client.rest() == []
        assert (client.code, client.call.details()) == (C.RESOURCE_EXHAUSTED, "message larger than 1048576 bytes")
        assert details(client.error)["ErrorInfo"].reason == "message_bytes"
    assert server.service.tally.limit_hits["message_bytes"] == hits + 1
    while server.service.streams:
        pass


def test_a_session_that_cannot_be_made_gives_its_place_back(server, monkeypatch):
    class Broken:
        def __init__(self, *arguments):
            raise RuntimeError("no session")

    with monkeypatch.context() as patch:
        patch.setattr(stream_method, "Session", Broken)
        error = refused(server.server.grpc_port, start())
    assert error.code() is C.UNKNOWN
    assert server.service.streams == 0
