"""The gRPC server of a process: its port, its TLS, its limits, and what tools learn of it."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys

import grpc
import pytest
import trustme
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from helpers.grpc_client import GrpcClient
from helpers.wire import start
from voxgate.config import load_config
from voxgate.endpoints.grpc import needs
from voxgate.endpoints.grpc.server import MAX_INT, options
from voxgate.errors import ConfigError
from voxgate.testing import serving as running

AUDIO = bytes(3200)


def test_options_follow_the_limits():
    config = load_config(
        environ={},
        overrides={"limits.message_bytes": 4096, "limits.streams": 7, "limits.session_s": 31_536_000},
    )
    found = dict(options(config, is_shared=True))
    assert found["grpc.max_receive_message_length"] == config.limits.recording_bytes + 1024
    alone = load_config(environ={}, overrides={"limits.message_bytes": 4096, "endpoints.riva": False})
    assert dict(options(alone, is_shared=True))["grpc.max_receive_message_length"] == 4096 + 1024
    assert found["grpc.max_concurrent_streams"] == 7 + 64
    assert found["grpc.max_connection_age_ms"] == MAX_INT
    assert (found["grpc.so_reuseport"], dict(options(config, is_shared=False))["grpc.so_reuseport"]) == (1, 0)


def test_a_port_that_is_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = rf"cannot listen for gRPC on 127\.0\.0\.1:{port}"
        with pytest.raises(ConfigError, match=text), running(lambda audio: {}, {"grpc.port": port}):
            raise AssertionError("it runs")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6(serve):
    server = serve(**{"grpc.port": 0, "server.host": "[::1]"})
    with grpc.insecure_channel(f"[::1]:{server.server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(30)


def test_a_server_without_the_port_speaks_none(serve):
    assert serve().server.grpc_port is None


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority, tmp_path):
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"grpc.port": 0, "server.tls_certificate": str(tmp_path / "both.pem")}, str(tmp_path / "ca.pem")


def credentials(authority, client=None):
    key = None if client is None else client.private_key_pem.bytes()
    chain = None if client is None else client.cert_chain_pems[0].bytes()
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), key, chain)


def kinds(server, credentials):
    with GrpcClient(server.server.grpc_port, credentials) as client:
        client.open(start(notices=True), AUDIO)
        client.half_close()
        return [event["type"] for event in client.rest()]


def test_tls(serve, secure, authority):
    server = serve(**secure[0])
    assert kinds(server, credentials(authority)) == ["started", "finished"]
    with GrpcClient(server.server.grpc_port) as client:
        client.open(start())
        assert (client.rest(), client.code) == ([], grpc.StatusCode.UNAVAILABLE)


def test_certificates_of_clients(serve, secure, authority):
    server = serve(**secure[0], **{"server.tls_client_ca": secure[1]})
    assert kinds(server, credentials(authority, authority.issue_cert("client"))) == ["started", "finished"]
    for wrong in (None, trustme.CA().issue_cert("client")):
        assert kinds(server, credentials(authority, wrong)) == []


# What tools learn of it


def test_reflection(port):
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        found = ProtoReflectionDescriptorDatabase(channel)
        assert set(found.get_services()) == {
            "voxgate.v1.Voxgate",
            "nvidia.riva.asr.RivaSpeechRecognition",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        for symbol in ("voxgate.v1.ClientMessage", "google.protobuf.Struct", "grpc.health.v1.Health"):
            assert found.FindFileContainingSymbol(symbol).name


def test_reflection_is_off(serve):
    with grpc.insecure_channel(f"localhost:{serve(**{'grpc.port': 0}).server.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as raised:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


# The command


def serving(tmp_path, *arguments):
    (tmp_path / "mymodel.py").write_text("import os\n\ndef pid(audio):\n    return {'pid': os.getpid()}\n")
    fixed = ["--model", "mymodel:pid", "--port", "0", "--set", "vad.detector=energy"]
    return subprocess.Popen(
        [sys.executable, "-m", "voxgate", "serve", *fixed, *arguments],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pid_of(port):
    """The process that a new connection comes to; None: it came to one that had just died."""
    with GrpcClient(port) as client:
        client.open(start(route="simple"), AUDIO)
        client.half_close()
        return next((int(event["pid"]) for event in client.rest()), None)


def test_server_processes_share_the_port_and_the_line_says_it(tmp_path):
    with serving(tmp_path, "--grpc-port", "0", "--workers", "2") as child:
        try:
            line = child.stdout.readline()
            match = re.fullmatch(r"voxgate listening on http://127\.0\.0\.1:\d+ and grpc://127\.0\.0\.1:(\d+)\n", line)
            assert match, (line, child.stderr.read())
            pids = set()
            while len(pids) < 2:  # the kernel deals them out by the client's port
                pids.add(pid_of(int(match[1])))
            assert child.pid not in pids
            os.kill(min(pids), signal.SIGKILL)
            while len(pids) < 3:  # another one in its place
                pids.add(pid_of(int(match[1])) or min(pids))
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()


def test_without_the_extra_the_server_serves_and_the_port_is_an_error(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('google', 'grpc', 'grpc_health'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "voxgate", "serve", "--model", "dummy", "--port", "0"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().startswith("voxgate listening on http://")
        child.terminate()
        assert child.wait(30) == 0
    command += ["--grpc-port", "0", "--workers", "2"]
    failed = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 2
    assert "pip install 'voxgate[grpc]'" in failed.stderr


def test_one_process_names_the_extra_too(monkeypatch):
    monkeypatch.setattr(needs, "PACKAGES", {"voxgate_no_such": "some-package"})
    with pytest.raises(ConfigError, match="some-package"), running(lambda audio: {}, {"grpc.port": 0}):
        raise AssertionError("it runs")


@pytest.mark.parametrize(
    "path",
    [
        "/voxgate.v1.Voxgate/Info",
        "/nvidia.riva.asr.RivaSpeechRecognition/GetRivaSpeechRecognitionConfig",
        "/nvidia.riva.asr.RivaSpeechRecognition/Recognize",
    ],
)
def test_a_client_without_a_token_is_refused_before_its_request_is_read(serve, path):
    """Its request never ends, and could be large."""
    port = serve(**{"grpc.port": 0, "auth.tokens": "good"}).server.grpc_port
    never = queue.SimpleQueue()
    with grpc.insecure_channel(f"localhost:{port}") as channel, pytest.raises(grpc.RpcError) as raised:
        channel.stream_unary(path)(iter(never.get, None), timeout=30)
    never.put(None)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
