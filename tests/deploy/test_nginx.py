"""deploy/nginx.conf in front of a real server: TLS ends there, and nothing of a stream is lost on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect

from helpers.http_client import chunk, http_stream, request
from helpers.ports import held_port
from helpers.wire import STOP, bursts, encode, pieces, start, stream

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
NAME = "voice.example.com"
LIVE = "/api/v1/segmented?sample_rate=16000"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Proxy:
    """nginx with the committed file; only addresses and paths are other ones."""

    def __init__(self, folder: Path, port: int, upstream_port: int) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert(NAME)
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        self.port = port
        text = CONFIG.read_text()
        for old, new in {
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/ssl/voxgate/": f"{folder}/",
            "/var/log/nginx/voxgate.log": f"{folder}/access.log",
        }.items():
            assert old in text
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;\n"
            f"events {{}}\nhttp {{\nclient_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}\n}}\n"
        )
        assert NGINX is not None
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while True:  # it is there when it takes connections
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()

    def get(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        """With a body it is a POST."""

        class Direct(urllib.request.HTTPErrorProcessor):
            def http_response(self, request, response):
                return response

            https_response = http_response

        context = self.tls
        context.check_hostname = False
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Direct)
        with opener.open(f"https://127.0.0.1:{self.port}{path}", body, timeout=30) as response:
            return response.status, response.read().decode()

    def connect(self, **options):
        return connect(
            f"wss://{NAME}:{self.port}/api/v1/segmented",
            sock=socket.create_connection(("127.0.0.1", self.port)),
            ssl=self.tls,
            server_hostname=NAME,
            compression=None,
            **options,
        )

    def stop(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


@pytest.fixture
def proxy(serve, tmp_path) -> Iterator[Proxy]:
    server = serve(**{"server.trusted_proxies": "127.0.0.1", "limits.streams_per_address": 1})
    with held_port() as port:
        proxy = Proxy(tmp_path, port, server.port)
        proxy.server = server
        yield proxy
        assert proxy.stop() == ""  # nginx had nothing to complain about


def test_a_stream_behind_the_proxy_gets_the_events_of_one_in_front_of_it(proxy):
    audio = encode(bursts((0.5, 1.5), (2.5, 3.5), length_s=5.0))
    direct = stream(proxy.server.url(), start(), *pieces(audio, 3200))
    with proxy.connect() as client:
        client.send(json.dumps(start()))
        for piece in pieces(audio, 3200):
            client.send(piece)
        client.send(json.dumps(STOP))
        behind = [json.loads(text) for text in client]
        assert client.protocol.close_code == 1000
    assert sorted(behind, key=str) == sorted(direct, key=str)


def test_live_audio_over_plain_http(proxy):
    """Events come while the body is sent, and the end of the body ends the answer."""
    audio = encode(bursts((0.5, 1.5), (2.5, 3.5), length_s=5.0))
    direct = http_stream(proxy.server.port, LIVE, pieces(audio, 3200))
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
    with proxy.tls.wrap_socket(plain, server_hostname=NAME) as client:
        client.sendall(request("POST", LIVE, host=NAME, transfer_encoding="chunked"))
        client.sendall(b"".join(map(chunk, pieces(audio[: len(audio) // 2], 3200))))
        answer = b""
        while b'"active"' not in answer:
            answer += client.recv(65_536)
        client.sendall(b"".join(map(chunk, pieces(audio[len(audio) // 2 :], 3200))) + b"0\r\n\r\n")
        while not answer.endswith(b"\r\n0\r\n\r\n"):
            answer += client.recv(65_536)
    behind = [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]
    assert sorted(behind, key=str) == sorted(direct, key=str)


def test_plain_requests_and_what_is_kept_inside(proxy):
    assert proxy.get("/api/v1/health") == (200, '{"status":"healthy"}')
    assert proxy.get("/api/v1/ready")[0] == 200
    assert proxy.get("/metrics")[0] == 404


def test_the_server_decides_how_large_an_upload_may_be(proxy):
    status, text = proxy.get("/v1/listen?encoding=linear16&sample_rate=16000", bytes(2**20 + 1))
    assert (status, json.loads(text)["err_code"]) == (400, "Bad Request")  # its model writes no words


def test_the_page_of_the_name_that_clients_see_is_of_the_same_origin(proxy):
    with proxy.connect(origin=f"https://{NAME}:{proxy.port}") as client:
        client.send(json.dumps(start(notices=True)))
        assert json.loads(client.recv(30))["type"] == "started"
        client.send(json.dumps(STOP))
    for origin in (
        f"http://{NAME}:{proxy.port}",
        "https://elsewhere.example.com",
        f"http://127.0.0.1:{proxy.server.port}",
    ):
        with pytest.raises(Exception, match="403"):
            proxy.connect(origin=origin)


def test_the_client_is_counted_by_its_own_address_whatever_it_says(proxy):
    with proxy.connect() as first:
        first.send(json.dumps(start(notices=True)))
        assert json.loads(first.recv(30))["type"] == "started"
        with pytest.raises(Exception, match="429"):
            proxy.connect(additional_headers={"X-Forwarded-For": "192.0.2.7"})


def test_the_query_string_is_in_no_log(proxy, tmp_path):
    assert proxy.get("/api/v1/health?token=s3cret")[0] == 200
    proxy.process.terminate()
    proxy.process.wait(30)
    log = (tmp_path / "access.log").read_text()
    assert re.search(r'"GET /api/v1/health" 200', log)
    assert "s3cret" not in log
