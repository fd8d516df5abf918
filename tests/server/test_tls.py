"""TLS by two settings, and what is said when they are wrong."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import trustme
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from helpers.raw import BINARY, frame, upgrade
from helpers.wire import STOP, bursts, encode, start
from voxgate.client import AudioFormat, ClientCertificate, ClientError, collect
from voxgate.config import ServerSettings
from voxgate.errors import ConfigError
from voxgate.server.tls import tls_context


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def pair(authority, tmp_path):
    """Certificate and key as files of their own."""
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(tmp_path / "certificate.pem", append=True)
    return str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def settings(pair) -> dict[str, str]:
    return {"server.tls_certificate": pair[0], "server.tls_key": pair[1]}


def test_streams_and_http_over_tls(serve, pair, trusting):
    server = serve(**settings(pair))
    address = f"127.0.0.1:{server.port}"
    with urllib.request.urlopen(f"https://{address}/api/v1/health", context=trusting, timeout=30) as response:
        assert response.status == 200
    audio = encode(bursts((0.5, 1.5), length_s=3.0))
    with connect(f"wss://{address}/api/v1/segmented", ssl=trusting, compression=None) as client:
        client.send('{"request":"start","format":{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}}')
        client.send(audio)
        (protocol,) = server.server._websockets()
        assert len(protocol.reader) == 0  # it reads plain sockets
        client.send('{"request":"stop","disconnect":true}')
        kinds = [re.search(r'"type":"(\w+)"', text)[1] for text in client]
        assert kinds == ["active", "inactive", "segment"]
        assert client.close_code == 1000


@pytest.mark.parametrize("last", [b"", bytes(2_000_000)], ids=["stop", "large"])
def test_a_close_frame_reaches_a_client_at_full_speed(serve, pair, trusting, last):
    server = serve(**settings(pair))
    url = f"wss://127.0.0.1:{server.port}/api/v1/segmented"

    async def flood() -> ConnectionClosed:
        async with websockets.asyncio.client.connect(url, ssl=trusting, compression=None) as client:
            try:
                await client.send(json.dumps(start()))
                await client.send(last or json.dumps(STOP))
                while True:
                    await client.send(bytes(500_000))
            except ConnectionClosed as closed:
                return closed

    closed = asyncio.run(flood())
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd_then_sent) == (1009 if last else 1000, True)


def test_a_refusal_reaches_a_client_that_is_sending(serve, pair, trusting):
    server = serve(**settings(pair), **{"auth.tokens": "good"})
    with (
        socket.create_connection(("127.0.0.1", server.port), 30) as sock,
        trusting.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(upgrade("/api/v1/simple", authorization="Bearer bad") + frame(BINARY, bytes(60_000)) * 20)
        assert tls.recv(12) == b"HTTP/1.1 401"


def test_nothing_older_than_tls_1_2(serve, pair, trusting):
    server = serve(**settings(pair))
    trusting.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    trusting.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock, pytest.raises((ssl.SSLError, OSError)):
        trusting.wrap_socket(sock, server_hostname="localhost")


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_handshake_has_its_time_too(serve, pair, beginning):
    server = serve(**settings(pair), **{"limits.handshake_timeout_s": 0.2})
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock:
        sock.sendall(beginning)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(1000):
                pass


def test_a_connection_in_the_middle_of_nothing(serve, pair, trusting):
    """The handshake is done, and no request comes."""
    server = serve(**settings(pair), **{"limits.handshake_timeout_s": 2})
    with (
        socket.create_connection(("127.0.0.1", server.port), 30) as sock,
        trusting.wrap_socket(sock, server_hostname="localhost") as tls,
        contextlib.suppress(ConnectionResetError, ssl.SSLEOFError),
    ):
        assert tls.recv(1) == b""


def test_what_is_wrong_with_the_files_is_said(authority, pair, tmp_path):
    certificate, key = pair
    other = tmp_path / "other.pem"
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    def error(**names: str) -> str:
        with pytest.raises(ConfigError) as raised:
            tls_context(ServerSettings(**names))
        return str(raised.value)

    assert "expected server.tls_certificate too" in error(tls_key=key)
    assert "tls_certificate: cannot read nowhere.pem: No such file" in error(tls_certificate="nowhere.pem")
    assert "tls_key: cannot read nowhere.pem: No such file" in error(tls_certificate=certificate, tls_key="nowhere.pem")
    assert "is not the key of the certificate" in error(tls_certificate=certificate, tls_key=str(other))
    assert "in PEM form" in error(tls_certificate=certificate)
    assert "in PEM form" in error(tls_certificate=str(nonsense), tls_key=key)


def test_one_file_may_hold_both(pair, tmp_path):
    certificate, key = pair
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(path).read_bytes() for path in (key, certificate)))
    assert tls_context(ServerSettings(tls_certificate=str(both))) is not None
    assert tls_context(ServerSettings()) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_by_flags(pair, trusting, workers):
    certificate, key = pair
    flags = ["--tls-certificate", certificate, "--tls-key", key, "--workers", str(workers), "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "voxgate", "serve", *flags, "--model", "dummy", "--set", "inference.warm_up=false"],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        assert url.startswith("https://")
        with urllib.request.urlopen(f"{url}/api/v1/ready", context=trusting, timeout=30) as response:
            assert response.status == 200
        child.terminate()
        assert child.wait(30) == 0


# Certificates of clients


@pytest.fixture
def client_ca(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def test_a_client_needs_a_certificate_of_the_authority(serve, pair, authority, trusting, client_ca):
    server = serve(**settings(pair), **{"server.tls_client_ca": client_ca})
    address = f"127.0.0.1:{server.port}"

    def health(context: ssl.SSLContext) -> int:
        with urllib.request.urlopen(f"https://{address}/api/v1/health", context=context, timeout=30) as response:
            return response.status

    foreign = ssl.create_default_context()
    authority.configure_trust(foreign)
    trustme.CA().issue_cert("client").configure_cert(foreign)
    for context in (trusting, foreign):
        with pytest.raises((OSError, http.client.HTTPException)):
            health(context)
        with pytest.raises((OSError, WebSocketException)), connect(f"wss://{address}/api/v1/simple", ssl=context):
            raise AssertionError("it was let in")
    authority.issue_cert("client").configure_cert(trusting)
    assert health(trusting) == 200
    with connect(f"wss://{address}/api/v1/simple", ssl=trusting, compression=None) as client:
        client.send(json.dumps(start()))
        client.send(bytes(3200))
        client.send(json.dumps(STOP))
        assert [json.loads(text)["count"] for text in client] == [1600]


@pytest.fixture
def own(authority, tmp_path):
    """The certificate of a client, and its key."""
    issued = authority.issue_cert("client")
    issued.private_key_pem.write_to_path(tmp_path / "client-key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    return ClientCertificate(tmp_path / "client.pem", tmp_path / "client-key.pem")


@pytest.mark.parametrize("wire", ["native", "http", "grpc"])
def test_our_client_shows_its_certificate(serve, pair, client_ca, own, monkeypatch, wire):
    if wire == "grpc":
        pytest.importorskip("grpc")
    monkeypatch.setenv("SSL_CERT_FILE", client_ca)
    settings_of = {**settings(pair), "server.tls_client_ca": client_ca, **({"grpc.port": 0} if wire == "grpc" else {})}
    server = serve(**settings_of)
    port = server.server.grpc_port if wire == "grpc" else server.port
    addr = f"wss://localhost:{port}/api/v1/simple"
    options = {"addr": addr, "format": AudioFormat(1, 16_000, 16, False), "wire": wire}
    events = collect(bytes(32_000), certificate=own, **options)
    assert (events[-1].end_time, sum(event.output["count"] for event in events)) == (1.0, 16_000)
    with pytest.raises(ClientError):
        collect(bytes(32_000), **options)


@pytest.mark.parametrize(
    ("addr", "files", "text"),
    [
        ("ws://localhost", ("client.pem", "client-key.pem"), "needs an address that begins with wss://"),
        ("wss://localhost", ("client.pem",), r"a certificate and its key in PEM form in .*client\.pem"),
        ("wss://localhost", ("key.pem", "client.pem"), "a certificate and its key in PEM form in"),
    ],
)
def test_what_is_wrong_with_a_certificate_of_a_client_is_said(pair, own, tmp_path, addr, files, text):
    given = ClientCertificate(*(tmp_path / file for file in files))
    with pytest.raises(ValueError, match=text):
        collect(b"", addr=addr, format=AudioFormat(1, 16_000, 16, False), certificate=given)
    with pytest.raises(FileNotFoundError):
        collect(b"", addr="wss://x", format=AudioFormat(1, 16_000, 16, False), certificate=ClientCertificate("nowhere"))


def test_what_is_wrong_with_the_authorities_is_said(pair, client_ca, tmp_path):
    files = {"tls_certificate": pair[0], "tls_key": pair[1]}
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for names, text in [
        ({"tls_client_ca": client_ca}, "expected server.tls_certificate too"),
        ({**files, "tls_client_ca": "nowhere.pem"}, "tls_client_ca: cannot read"),
        ({**files, "tls_client_ca": str(nonsense)}, "certificates in PEM form"),
    ]:
        with pytest.raises(ConfigError, match=text):
            tls_context(ServerSettings(**names))
