"""Requests whose body is audio, whatever the API: methods, refusals, and the permit that always comes back."""

from __future__ import annotations

import http.client
import json

import pytest
from websockets.sync.client import connect

from conftest import LiveServer
from voxgate.endpoints.request_route import close_for, text_of
from voxgate.protocol.closing import Close, CloseReason

PATHS = ["/api/v1/segmented", "/v1/audio/transcriptions", "/v1/listen"]


def words(audio: object) -> str:
    return "words"


def asked(server: LiveServer, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, CloseReason.INVALID),
        (408, CloseReason.TIMEOUT),
        (413, CloseReason.TOO_LARGE),
        (415, CloseReason.INVALID),
        (500, CloseReason.INTERNAL),
        (503, CloseReason.OVERLOADED),
    ],
)
def test_a_status_ends_the_session_for_a_reason(status, reason):
    assert close_for(status, "upload_bytes") == Close(reason, limit="upload_bytes")


def test_the_text_of_an_end():
    assert text_of(Close(CloseReason.DRAINING, "draining")) == "the server shuts down: try again"
    assert text_of(Close(CloseReason.TIMEOUT, "too slow")) == "too slow"
    assert text_of(Close(CloseReason.TIMEOUT)) == "the server ended the request: timeout"


@pytest.mark.parametrize("path", PATHS)
def test_another_method_is_405_and_says_which_are_allowed(serve, path):
    status, headers, body = asked(serve(words), "DELETE", path)
    assert status == 405
    assert "POST" in headers["allow"]
    assert headers["allow"].endswith("OPTIONS")
    assert "got DELETE" in json.dumps(json.loads(body))


@pytest.mark.parametrize("path", ["/api/v1/segmented?sample_rate=1", "/v1/listen?encoding=linear16&sample_rate=1"])
def test_a_request_that_cannot_be_served_gives_its_permit_back(serve, path):
    server = serve(words)
    for _ in range(3):
        status, _, body = asked(server, "POST", path, bytes(640))
        assert status == 400
        assert b"sample_rate" in body
    assert server.service.streams == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_full_server_answers_503_with_retry_after(serve, path):
    server = serve(words, **{"limits.streams": 1, "limits.streams_per_address": 1})
    with connect(server.url("segmented")):
        status, headers, _ = asked(server, "POST", f"{path}?sample_rate=16000")
    assert status == 503
    assert int(headers["retry-after"]) >= 1
