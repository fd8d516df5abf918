"""Where the clients of other services put their key."""

from __future__ import annotations

import pytest

from voxgate.endpoints.credentials import BARE, credentials_in
from voxgate.endpoints.wire import Credentials

TOKEN = ("token", "bearer")


@pytest.mark.parametrize(
    ("header", "schemes", "token"),
    [
        (b"Token abc", TOKEN, "abc"),
        (b"token  abc ", TOKEN, "abc"),
        (b"Bearer abc", TOKEN, "abc"),
        (b"Basic abc", TOKEN, ""),
        (b"abc", TOKEN, ""),
        (b"Token", TOKEN, ""),
        (b"", TOKEN, ""),
        (b"abc", (BARE,), "abc"),
        (b"Bearer abc", (BARE, "bearer"), "abc"),
        (b"Basic abc", (BARE, "bearer"), ""),
        (b"\xff", (BARE,), ""),
        ("ключ".encode(), (BARE,), "ключ"),
    ],
)
def test_keys_of_headers(header, schemes, token):
    assert credentials_in([(b"authorization", header)], (), schemes) == Credentials(token)


def test_several_headers_are_never_valid():
    assert credentials_in([(b"authorization", b"Token a"), (b"authorization", b"Token a")], (), TOKEN).token == ""


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (["token", "abc"], Credentials("abc", "token")),
        (["Bearer", "abc"], Credentials("abc", "Bearer")),
        (["token"], Credentials()),
        (["other", "abc"], Credentials()),
        (["token", "a", "b"], Credentials()),
        ([], Credentials()),
    ],
)
def test_keys_of_subprotocols(offered, expected):
    assert credentials_in([], offered, TOKEN) == expected


def test_the_header_wins():
    found = credentials_in([(b"authorization", b"Token a")], ["token", "b"], TOKEN)
    assert found == Credentials("a")
