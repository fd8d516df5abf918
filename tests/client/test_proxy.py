"""Which proxy is taken, and what is said of one that does not work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from helpers.ports import held_port
from voxgate import client
from voxgate.client.proxy import find_proxy
from voxgate.protocol.formats import AudioFormat

MONO = AudioFormat(1, 16_000, 16, False)
FAR = "ws://voice.example.com:8080/api/v1/segmented"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "ws", "wss", "socks", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


def failure(addr: str = FAR) -> str:
    with pytest.raises(client.ConnectError) as caught:
        client.collect(bytes(3200), format=MONO, addr=addr)
    return str(caught.value)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "ws_proxy", "HTTPS_PROXY"])
def test_a_dead_proxy_is_named_with_its_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_port() as port:
        monkeypatch.setenv(variable, f"http://eve:s3cret@127.0.0.1:{port}")
        assert failure() == (
            f"cannot connect to {FAR} through the proxy http://***@127.0.0.1:{port} ({variable}): the proxy refused the"
            " connection (is it running? no_proxy=HOST bypasses it)"
        )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0"]
)
def test_this_machine_is_reached_without_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert find_proxy(f"ws://{host}:8080/x") is None
    assert find_proxy(FAR) is not None
    monkeypatch.setenv("no_proxy", "voice.example.com")
    assert find_proxy(FAR) is None


def test_which_variable_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_proxy(FAR) is None
    for scheme, variable in (("ws", "http_proxy"), ("wss", "https_proxy"), ("ws", "socks_proxy"), ("ws", "ws_proxy")):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        proxy = find_proxy(f"{scheme}://voice.example.com")
        assert proxy is not None
        assert proxy.variable == variable
        assert proxy.url == f"{'socks5h' if variable == 'socks_proxy' else 'http'}://127.0.0.1:9"


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def test_a_proxy_that_refuses(refusing_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", refusing_proxy)
    assert (
        failure()
        == f"cannot connect to {FAR} through the proxy {refusing_proxy} (http_proxy): the proxy answered HTTP 403"
    )


@pytest.mark.parametrize("proxy", ["eve:s3cret@proxy:1", "ftp://eve:s3cret@proxy", "http://eve:s3cret@proxy/path"])
def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    text = failure()
    assert "(http_proxy): " in text
    assert "s3cret" not in text
