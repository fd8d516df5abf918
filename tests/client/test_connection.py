"""Addresses, and the failures of opening a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response

from helpers.client_stream import MONO, ONE_SECOND, UTTERANCE, run
from helpers.ports import held_port
from helpers.scripted_server import (
    answering,
    serving,
    serving_in_thread,
)
from voxgate import client


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:9000", "ws://localhost:9000/api/v1/segmented"),
        ("host", "ws://host/api/v1/segmented"),
        ("http://host:1/", "ws://host:1/api/v1/segmented"),
        ("https://host/api/v1/simple", "wss://host/api/v1/simple"),
        ("ws://[::1]:8080/a?b=c", "ws://[::1]:8080/a?b=c"),
    ],
)
def test_addresses_as_people_type_them(typed: str, url: str) -> None:
    assert client.normalize_addr(typed) == url


def test_the_client_never_waits_for_pongs(monkeypatch: pytest.MonkeyPatch) -> None:
    import voxgate.client.connection as connection

    seen: dict[str, Any] = {}
    real_connect = connection.connect

    def spying_connect(addr: str, **options: Any) -> Any:
        seen.update(options)
        return real_connect(addr, **options)

    monkeypatch.setattr(connection, "connect", spying_connect)
    run(answering())
    assert seen["ping_timeout"] is None
    assert seen["ping_interval"] is not None


def test_connection_refused() -> None:
    with held_port() as port, pytest.raises(client.ConnectError, match=r"connection refused.*is the server running"):
        client.collect(ONE_SECOND, addr=f"ws://127.0.0.1:{port}", format=MONO)


def test_http_refusal_carries_status_body_and_retry_after() -> None:
    def refuse(connection: ServerConnection, request: Any) -> Response:
        headers = Headers({"Retry-After": "3"})
        return Response(int(http.HTTPStatus.SERVICE_UNAVAILABLE), "Service Unavailable", headers, b"server full\n")

    text = r"HTTP 503: server full \(try again after 3 s\)"
    with (
        serving_in_thread(answering(), process_request=refuse) as addr,
        pytest.raises(client.RefusedError, match=text) as caught,
    ):
        client.collect(ONE_SECOND, addr=addr, format=MONO)
    assert (caught.value.status, caught.value.body, caught.value.retry_after) == (503, "server full\n", "3")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"error": "server full: 8 streams"}', "HTTP 503: server full: 8 streams"),
        ('{"error": 7}', 'HTTP 503: {"error": 7}'),
        ('{"reason": "no"}', 'HTTP 503: {"reason": "no"}'),
        ("[1]", "HTTP 503: [1]"),
        ("null", "HTTP 503: null"),
        ("", "HTTP 503"),
    ],
)
def test_a_refusal_says_the_error_of_a_json_body(body: str, text: str) -> None:
    error = client.RefusedError(503, body)
    assert str(error) == f"the server refused with {text}"
    assert error.body == body


def test_what_is_no_websocket_server_is_told() -> None:
    async def main() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(client.ConnectError, match="cannot connect"):
                async for _ in client.stream(ONE_SECOND, addr=f"127.0.0.1:{port}", format=MONO):
                    pass

    asyncio.run(main())


def tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_ws_where_the_server_speaks_tls() -> None:
    async def main() -> None:
        async with serving(answering(), ssl=tls()) as addr:
            with pytest.raises(client.ConnectError, match="with TLS begins with wss://"):
                async for _ in client.stream(ONE_SECOND, addr=addr, format=MONO):
                    pass

    asyncio.run(asyncio.wait_for(main(), 30))


def test_an_expired_certificate_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority.issue_cert("127.0.0.1", not_before=expired, not_after=expired).configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving_in_thread(answering(), ssl=context) as addr:
        addr = addr.replace("ws://", "wss://")
        with pytest.raises(client.ConnectError) as caught:
            client.collect(ONE_SECOND, addr=addr, format=MONO)
    assert str(caught.value) == (
        f"cannot connect to {addr}: the server's certificate is invalid: certificate has expired"
    )


def test_wss_where_the_server_speaks_no_tls(serve: Any) -> None:
    addr = f"wss://127.0.0.1:{serve().port}"
    with pytest.raises(client.ConnectError, match=r"does not use TLS \(its address begins with ws://\)"):
        client.collect(ONE_SECOND, addr=addr, format=MONO)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs POSIX")
def test_proxies_are_not_asked_for_the_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert len(run(answering(*UTTERANCE))) == 3
