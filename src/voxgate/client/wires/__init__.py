"""Other wires than the native one: each is a connection that speaks the native wire's messages to its user."""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit, urlunsplit

from voxgate.client.connection import open_websocket
from voxgate.client.wires.http import HttpConnection
from voxgate.client.wires.openai import OpenAiConnection, check_openai
from voxgate.protocol.requests import Start

__all__ = ["WIRES", "Connection", "ClientWire", "check_wire", "open_connection"]

ClientWire: TypeAlias = Literal["native", "openai", "http"]
WIRES: Final[tuple[ClientWire, ...]] = get_args(ClientWire)

_PATHS: Final[dict[ClientWire, tuple[str, str]]] = {"openai": ("/v1/realtime", "intent=transcription")}


class Connection(Protocol):
    """What a stream needs of a websocket of the native wire."""

    async def send(self, message: str | bytes | memoryview, /) -> None:
        """A request, or audio. Raises ConnectionClosed."""

    async def recv(self) -> str | bytes:
        """The next event. Raises ConnectionClosed at the end, which is a good one with code 1000."""

    async def close(self, code: int = 1000) -> None:
        """Ends the connection, wherever it is."""


def check_wire(wire: ClientWire, addr: str, start: Start) -> str:
    """The address for `wire`: its own path, where `addr`, a websocket URL, has the default one. Raises ValueError for
    what the wire cannot carry.
    """
    if wire == "openai":
        check_openai(start)
    if wire not in _PATHS or urlsplit(addr).path != "/api/v1/segmented":
        return addr
    path, query = _PATHS[wire]
    parts = urlsplit(addr)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query or query, ""))


async def open_connection(wire: ClientWire, addr: str, token: str | None, start: Start) -> Connection:
    """Connects to `addr`, as `check_wire` returned it. Raises ConnectError or RefusedError."""
    if wire == "http":
        return await HttpConnection.open(addr, token, start)
    websocket = await open_websocket(addr, token, start.trace_id)
    return websocket if wire == "native" else OpenAiConnection(websocket, start)
