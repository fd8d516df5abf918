"""Which web pages may connect."""

from __future__ import annotations

import pytest

from voxgate.errors import ConfigError
from voxgate.service.access import Origins, origin_of
from voxgate.service.client_info import ClientInfo


def allows(setting: str, *origins: str, host: str | None = "app.example:8080", is_secure: bool = False) -> bool:
    headers = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return Origins(setting).allow(ClientInfo("1.2.3.4", is_secure, host, origin_of(headers)))


@pytest.mark.parametrize(
    ("origin", "host", "is_secure"),
    [
        ("http://app.example:8080", "app.example:8080", False),
        ("http://APP.example:8080", "app.EXAMPLE:8080", False),
        ("http://app.example", "app.example:80", False),
        ("http://app.example:80", "app.example", False),
        ("https://app.example", "app.example", True),
        ("https://app.example", "app.example:443", True),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False),
    ],
)
def test_the_servers_own_page(origin, host, is_secure):
    assert allows("same-origin", origin, host=host, is_secure=is_secure)
    assert not allows("https://other.example", origin, host=host, is_secure=is_secure)


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example",  # another port
        "https://app.example:8080",  # another scheme
        "http://app.example:8080/",  # origins have no path
        "http://app.example:8080/page",
        "http://app.example:8080?x",
        "http://app.example:8080#x",
        "http://user@app.example:8080",
        "http://app.example:8080 http://app.example:8080",
        "http://app.example.:8080",
        "http://evil.example:8080",
        "http://xapp.example:8080",
        "http://app.example:99999",
        "http://app.example:8080x",
        "http://[::1",
        "http://\xff",
        "http://\xe4.example:8080",
        "app.example:8080",
        "null",
        "",
    ],
)
def test_any_other_page_is_not_let_in(origin):
    assert not allows("same-origin", origin)
    assert not allows("same-origin,https://other.example", origin)


def test_letters_that_no_browser_sends_are_not_looked_at(monkeypatch):
    """Thousands of them would hold the event loop for a tenth of a second."""

    def urlsplit(text: str) -> None:
        raise AssertionError("it was looked at")

    origins = Origins("same-origin")
    monkeypatch.setattr("voxgate.service.access.origins.urlsplit", urlsplit)
    assert not origins.allow(ClientInfo("1.2.3.4", False, "\xe4" * 7000, "http://" + "\xe4" * 7000))


def test_without_an_origin_it_is_no_web_page():
    assert allows("same-origin")
    assert allows("https://other.example", host=None)


def test_several_origins_are_none():
    assert not allows("same-origin", "http://app.example:8080", "http://app.example:8080")


def test_without_a_host_no_page_is_the_servers_own():
    assert not allows("same-origin", "http://app.example", host=None)
    assert not allows("same-origin", "http://app.example", host="")


def test_a_list():
    setting = " https://One.example/ , http://two.example:81, https://[2001:DB8::1]:444 "
    for origin in (
        "https://one.example",
        "https://one.example:443",
        "http://two.example:81",
        "https://[2001:db8::1]:444",
    ):
        assert allows(setting, origin)
    for origin in ("http://one.example", "http://two.example", "http://app.example:8080", "null"):
        assert not allows(setting, origin)
    assert allows(setting + ",same-origin", "http://app.example:8080")
    assert allows("https://bücher.example", "https://xn--bcher-kva.example")


def test_any():
    assert allows("*", "null")
    assert allows("*, same-origin", "https://evil.example")


@pytest.mark.parametrize("setting", ["", " , ", "null", "app.example", "https://app.example/page", "https://", "any"])
def test_what_is_no_origin_is_a_mistake_in_the_settings(setting):
    with pytest.raises(ConfigError, match=r"auth.origins: expected same-origin"):
        Origins(setting)
