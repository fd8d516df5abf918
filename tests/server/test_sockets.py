"""The listening socket, and the limit of open files."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from voxgate.config import Config, ServerSettings
from voxgate.errors import ConfigError
from voxgate.server.sockets import listen, reserve, start_line, url_of


def test_listen_bounds_what_the_kernels_hold():
    with listen(ServerSettings(port=0, receive_buffer_bytes=20_000)) as sock:
        with socket.create_connection(sock.getsockname()) as client, sock.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 40_000  # the kernel doubles it
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1440
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize(
    ("host", "where"),
    [("192.0.2.1", "192.0.2.1:0"), ("2001:db8::1", "[2001:db8::1]:0"), ("[2001:db8::1]", "[2001:db8::1]:0")],
)
def test_listen_on_an_address_that_is_not_ours(host, where):
    with pytest.raises(ConfigError, match=rf"cannot listen on {re.escape(where)}: "):
        listen(ServerSettings(host=host, port=0))


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_may_stand_in_brackets_as_it_is_printed(host):
    with listen(ServerSettings(host=host, port=0)) as sock:
        assert url_of(sock) == f"http://[::1]:{sock.getsockname()[1]}"
    with reserve(ServerSettings(host=host, port=0)) as sock:
        assert sock.getsockname()[0] == "::1"


FILES = """
import resource, sys
from voxgate.server.sockets import allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, int(sys.argv[1])))
allow_files(1000)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("hard", "files", "warns"), [(4000, 2024, False), (500, 500, True)])
def test_as_many_open_files_as_the_streams_need(hard, files, warns):
    ended = subprocess.run([sys.executable, "-c", FILES, str(hard)], capture_output=True, text=True, check=True)
    assert int(ended.stdout) == files
    assert ("may only open 500 files" in ended.stderr) is warns


@pytest.mark.parametrize(
    ("tls", "grpc_port", "line"),
    [
        (None, None, "http://127.0.0.1:{port}"),
        (None, 50_051, "http://127.0.0.1:{port} and grpc://127.0.0.1:50051"),
        ("some.pem", 50_051, "https://127.0.0.1:{port} and grpcs://127.0.0.1:50051"),
    ],
)
def test_the_line_that_says_where(tls, grpc_port, line):
    with listen(ServerSettings(port=0)) as sock:
        config = Config(server=ServerSettings(tls_certificate=tls))
        expected = f"voxgate listening on {line.format(port=sock.getsockname()[1])}"
        assert start_line(sock, config, grpc_port) == expected
