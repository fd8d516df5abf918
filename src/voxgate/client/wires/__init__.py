"""Other wires than the native one: each is a connection that speaks the native wire's messages to its user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit, urlunsplit

from voxgate.client.connection import open_websocket
from voxgate.client.wires.assemblyai import AssemblyAiConnection, assemblyai_query, check_assemblyai
from voxgate.client.wires.deepgram import DeepgramConnection, check_deepgram, deepgram_query
from voxgate.client.wires.http import HttpConnection
from voxgate.client.wires.openai import OpenAiConnection, check_openai
from voxgate.protocol.requests import Start

__all__ = ["WIRES", "Connection", "ClientWire", "check_wire", "open_connection"]

ClientWire: TypeAlias = Literal["native", "deepgram", "assemblyai", "openai", "http"]
WIRES: Final[tuple[ClientWire, ...]] = get_args(ClientWire)

_PATHS: Final[dict[ClientWire, str]] = {"deepgram": "/v1/listen", "assemblyai": "/v3/ws", "openai": "/v1/realtime"}
_CHECKS: Final[dict[ClientWire, Callable[[Start], None]]] = {
    "deepgram": check_deepgram,
    "assemblyai": check_assemblyai,
    "openai": check_openai,
}
_QUERIES: Final[dict[ClientWire, Callable[[Start], str]]] = {
    "deepgram": deepgram_query,
    "assemblyai": assemblyai_query,
}
_SCHEMES: Final[dict[ClientWire, str]] = {"deepgram": "Token ", "assemblyai": ""}


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
    if wire in _CHECKS:
        _CHECKS[wire](start)
    parts = urlsplit(addr)
    path = _PATHS[wire] if wire in _PATHS and parts.path == "/api/v1/segmented" else parts.path
    query = parts.query
    if wire in _QUERIES:
        query = "&".join(filter(None, (query, _QUERIES[wire](start))))
    elif wire == "openai" and path != parts.path:
        query = query or "intent=transcription"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


async def open_connection(wire: ClientWire, addr: str, token: str | None, start: Start) -> Connection:
    """Connects to `addr`, as `check_wire` returned it. Raises ConnectError or RefusedError."""
    if wire == "http":
        return await HttpConnection.open(addr, token, start)
    websocket = await open_websocket(addr, token, start.trace_id, _SCHEMES.get(wire, "Bearer "))
    match wire:
        case "deepgram":
            return DeepgramConnection(websocket)
        case "assemblyai":
            return AssemblyAiConnection(websocket, start)
        case "openai":
            return OpenAiConnection(websocket, start)
    return websocket
