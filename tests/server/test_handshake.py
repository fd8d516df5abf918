"""The upgrade of an HTTP request to a websocket, without a socket."""

from __future__ import annotations

import json

import pytest

from voxgate.server.handshake import Refused, check, encode_refusal, has_body, scope_of

HEADERS = [
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def without(name: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [*(header for header in HEADERS if header[0] != name), *more]


def test_the_answer_to_the_example_of_rfc_6455():
    answer = check("GET", b"/chat", "1.1", HEADERS)
    assert not isinstance(answer, Refused)
    assert answer.status_code == 101
    assert answer.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("method", "url", "headers", "status", "code"),
    [
        ("GET", b"/\xff", HEADERS, 400, "bad_request"),
        ("POST", b"/", HEADERS, 405, "bad_handshake"),
        ("GET", b"/", without(b"sec-websocket-key"), 400, "bad_handshake"),
        ("GET", b"/", without(b"sec-websocket-version", (b"sec-websocket-version", b"8")), 400, "bad_handshake"),
    ],
    ids=["not ASCII", "method", "no key", "version"],
)
def test_refusals(method, url, headers, status, code):
    answer = check(method, url, "1.1", headers)
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (status, code)


def test_a_refusal_is_a_whole_answer_with_json():
    refused = Refused(400, "bad_request", "no", (("x-more", "1"),))
    head, _, body = encode_refusal(refused).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[:3] == ["HTTP/1.1 400 Bad Request", "x-more: 1", "content-type: application/json"]
    assert lines[-2:] == [f"content-length: {len(body)}", "connection: close"]
    assert json.loads(body) == {"error": "no", "code": "bad_request"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b" 00 ")], False),
        ([(b"content-length", b"1")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
def test_whether_a_body_follows(headers, expected):
    assert has_body(headers) is expected


def test_the_scope_of_a_websocket():
    http_scope = {
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
        "root_path": "/root",
        "headers": [*HEADERS, (b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-protocol", b"c")],
        "state": {},
    }
    scope = scope_of(http_scope, b"/a%20b?token=c%20d")
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "wss"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/a b", b"/root/a%20b", b"token=c%20d")
    assert scope["subprotocols"] == ["a", "b", "c"]
