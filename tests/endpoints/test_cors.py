"""Which answers a web page of another origin may read."""

from __future__ import annotations

from urllib.request import Request, urlopen

import pytest

from voxgate.config import load_config
from voxgate.endpoints.cors import cors_headers, preflight
from voxgate.service.access import Gate
from voxgate.service.client_info import ClientInfo

APP = "https://app.example.com"


def gate(origins: str) -> Gate:
    config = load_config(environ={}, overrides={"auth.origins": origins})
    return Gate(config.auth, config.server)


def page(origin: str | None) -> ClientInfo:
    return ClientInfo(origin=origin, host="voxgate.example.com")


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ("same-origin", None, None),
        ("same-origin", APP, None),
        ("same-origin", "http://voxgate.example.com", "http://voxgate.example.com"),
        (APP, APP, APP),
        (APP, APP + ".evil.com", None),
        ("*", APP, APP),
        ("*", "null", "null"),
        (APP, "null", None),
        (APP, "", None),
    ],
)
def test_the_origins_that_may_connect_may_read(origins, origin, allowed):
    headers = cors_headers(gate(origins), page(origin))
    assert headers.get("Access-Control-Allow-Origin") == allowed
    assert headers.get("Vary") == (None if allowed is None else "Origin")


def test_a_preflight():
    response = preflight(gate(APP), page(APP), "POST, OPTIONS")
    assert (response.status_code, response.headers["access-control-allow-methods"]) == (204, "POST, OPTIONS")
    assert "authorization" in response.headers["access-control-allow-headers"]


def test_a_preflight_of_another_origin_is_refused():
    response = preflight(gate(APP), page("https://evil.com"), "POST, OPTIONS")
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_options_of_a_client_that_is_no_page():
    response = preflight(gate(APP), page(None), "POST, OPTIONS")
    assert (response.status_code, response.headers["allow"]) == (204, "POST, OPTIONS")
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ([b"authorization,x-stainless-os, OpenAI-Beta"], "authorization,x-stainless-os, OpenAI-Beta"),
        ([], "authorization, content-type, traceparent, tracestate"),
        ([b"a\r\nb: c"], "authorization, content-type, traceparent, tracestate"),
        ([b"\xff"], "authorization, content-type, traceparent, tracestate"),
        ([b"a", b"b"], "authorization, content-type, traceparent, tracestate"),
        ([b"a" * 2000], "authorization, content-type, traceparent, tracestate"),
    ],
)
def test_a_page_may_send_the_headers_that_it_asks_for(asked, allowed):
    """Those of the services' libraries are many, and change."""
    headers = [(b"access-control-request-headers", value) for value in asked]
    response = preflight(gate(APP), page(APP), "POST, OPTIONS", headers)
    assert response.headers["access-control-allow-headers"] == allowed


@pytest.mark.parametrize("path", ["/api/v1/info", "/api/v1/ready"])
def test_pages_that_may_connect_may_read_how_the_server_is(serve, path):
    url = serve(**{"auth.origins": APP, "auth.tokens": "good"}).http(path)
    token = {"Authorization": "Bearer good"}
    with urlopen(Request(url, headers={"Origin": APP, **token}), timeout=30) as response:
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    with urlopen(Request(url, headers={"Origin": "https://evil.com", **token}), timeout=30) as response:
        assert response.headers["Access-Control-Allow-Origin"] is None
    asked = {"Origin": APP, "Access-Control-Request-Headers": "authorization"}
    with urlopen(Request(url, method="OPTIONS", headers=asked), timeout=30) as response:
        assert (response.status, response.headers["Access-Control-Allow-Headers"]) == (204, "authorization")
