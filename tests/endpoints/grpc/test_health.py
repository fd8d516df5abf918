"""`grpc.health.v1` says what `GET /api/v1/ready` says."""

from __future__ import annotations

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from helpers.grpc_client import GrpcClient
from helpers.wire import start
from voxgate import Model
from voxgate.endpoints.grpc import health

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def asked(name: str = ""):
    return health_pb2.HealthCheckRequest(service=name)


@pytest.fixture
def stub_of():
    channels = []

    def connect(server):
        channels.append(grpc.insecure_channel(f"localhost:{server.server.grpc_port}"))
        return health_pb2_grpc.HealthStub(channels[-1])

    yield connect
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("name", ["", "voxgate.v1.Voxgate"])
def test_a_server_that_is_ready(server, stub_of, name):
    assert stub_of(server).Check(asked(name), timeout=30).status == SERVING


def test_a_service_that_there_is_not(server, stub_of):
    stub = stub_of(server)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Check(asked("no"), timeout=30)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(asked("no"), timeout=30)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_it_follows_readiness(serve, stub_of, monkeypatch):
    monkeypatch.setattr(health, "LOOK_EVERY_S", 0.01)
    may = threading.Event()

    class Slow(Model):
        def warm_up(self):
            assert may.wait(30)

        def infer(self, audio):
            return {}

    server = serve(Slow(), wait=False, **{"grpc.port": 0, "limits.streams": 1, "server.drain_s": 60})
    while server.server.grpc_port is None:
        pass
    stub = stub_of(server)
    watch = stub.Watch(asked(), timeout=60)
    assert next(watch).status == NOT_SERVING
    may.set()
    server.wait_started()
    assert (next(watch).status, stub.Check(asked(), timeout=30).status) == (SERVING, SERVING)
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start(notices=True))
        client.receive()
        assert (next(watch).status, stub.Check(asked(), timeout=30).status) == (NOT_SERVING, NOT_SERVING)  # it is full
        client.half_close()
        client.rest()
    assert next(watch).status == SERVING
    server.server.ask_to_end()
    with pytest.raises(grpc.RpcError):
        for _ in watch:
            pass
    server.stop()


def test_few_watch(server, stub_of, monkeypatch):
    monkeypatch.setattr(health, "MAX_WATCHERS", 1)
    stub = stub_of(server)
    watch = stub.Watch(asked(), timeout=30)
    next(watch)
    with pytest.raises(grpc.RpcError) as raised:
        next(stub.Watch(asked(), timeout=30))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    watch.cancel()
