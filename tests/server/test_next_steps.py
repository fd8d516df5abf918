"""What a server prints below the line that it listens."""

from __future__ import annotations

from typing import Any

import pytest

from voxgate.config import load_config
from voxgate.server.next_steps import next_steps


def lines(url: str, route: Any = "segmented", **settings: Any) -> list[str]:
    return next_steps(url, load_config(environ={}, overrides=settings), route).splitlines()


def test_the_default_address() -> None:
    assert lines("http://127.0.0.1:8080") == [
        "  page        http://127.0.0.1:8080/",
        "  websocket   ws://127.0.0.1:8080/api/v1/segmented",
        "  next, try   voxgate client demo",
    ]


@pytest.mark.parametrize(
    ("url", "route", "websocket", "command"),
    [
        (
            "http://127.0.0.1:9",
            "segmented",
            "ws://127.0.0.1:9/api/v1/segmented",
            "--addr ws://127.0.0.1:9/api/v1/segmented",
        ),
        (
            "https://[::]:8080",
            "stateful",
            "wss://[::1]:8080/api/v1/stateful",
            "--addr wss://[::1]:8080/api/v1/stateful",
        ),
        ("http://0.0.0.0:8080", "segmented", "ws://127.0.0.1:8080/api/v1/segmented", ""),
        ("http://0.0.0.0:8080", None, "ws://127.0.0.1:8080/api/v1/ROUTE", ""),
    ],
)
def test_other_addresses(url: str, route: Any, websocket: str, command: str) -> None:
    printed = lines(url, route)
    assert printed[1] == f"  websocket   {websocket}"
    assert printed[2] == f"  next, try   voxgate client demo {command}".rstrip()


def test_a_server_with_tokens() -> None:
    printed = lines("http://127.0.0.1:8080", **{"auth.tokens": "s3cret"})
    assert printed[2] == "  next, try   VOXGATE_TOKEN=... voxgate client demo"
    assert "s3cret" not in "".join(printed)
