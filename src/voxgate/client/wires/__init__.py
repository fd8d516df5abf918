"""Other wires than the native one: each is a connection that speaks the native wire's messages to its user."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, Literal, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit, urlunsplit

from voxgate.client.certificate import ClientCertificate
from voxgate.client.connection import open_websocket
from voxgate.client.wires.assemblyai import AssemblyAiConnection, assemblyai_query, check_assemblyai
from voxgate.client.wires.deepgram import DeepgramConnection, check_deepgram, deepgram_query
from voxgate.client.wires.http import HttpConnection
from voxgate.client.wires.openai import OpenAiConnection, check_openai
from voxgate.protocol.requests import Start

__all__ = ["WIRES", "Connection", "ClientWire", "check_wire", "open_connection", "wire_at"]

ClientWire: TypeAlias = Literal["native", "deepgram", "assemblyai", "openai", "http", "grpc"]
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
_GRPC: Final = {"ws": "grpc", "wss": "grpcs", "grpc": "grpc", "grpcs": "grpcs"}


class Connection(Protocol):
    """What a stream needs of a websocket of the native wire."""

    async def send(self, message: str | bytes | memoryview, /) -> None:
        """A request, or audio. Raises ConnectionClosed."""

    async def recv(self) -> str | bytes:
        """The next event. Raises ConnectionClosed at the end, which is a good one with code 1000."""

    async def close(self, code: int = 1000) -> None:
        """Ends the connection, wherever it is."""


def wire_at(wire: ClientWire, addr: str) -> ClientWire:
    """`wire`, or that which `addr` names, in place of the native one."""
    return "grpc" if wire == "native" and addr.startswith(("grpc:", "grpcs:")) else wire


def check_wire(wire: ClientWire, addr: str, start: Start) -> str:
    """The address for `wire`: its own path, where `addr`, as of `normalize_addr`, has the default one. Raises
    ValueError for what the wire cannot carry.
    """
    if wire in _CHECKS:
        _CHECKS[wire](start)
    parts = urlsplit(addr)
    if wire == "grpc":
        if find_spec("grpc") is None:
            raise ValueError("the grpc wire needs the package grpcio: pip install 'voxgate[grpc]'")
        if start.token is not None:
            raise ValueError("the grpc wire carries a token in the metadata alone, not in the start")
        return urlunsplit((_GRPC[parts.scheme], *parts[1:]))
    if parts.scheme not in ("ws", "wss"):
        raise ValueError(f"the {wire} wire needs an address that begins with ws:// or wss://, got {parts.scheme}://")
    path = _PATHS[wire] if wire in _PATHS and parts.path == "/api/v1/segmented" else parts.path
    query = parts.query
    if wire in _QUERIES:
        query = "&".join(filter(None, (query, _QUERIES[wire](start))))
    elif wire == "openai" and path != parts.path:
        query = query or "intent=transcription"
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


async def open_connection(
    wire: ClientWire, addr: str, token: str | None, start: Start, certificate: ClientCertificate | None = None
) -> Connection:
    """Connects to `addr`, as `check_wire` returned it. Raises ConnectError or RefusedError."""
    if wire == "grpc":
        from voxgate.client.wires.grpc import GrpcConnection  # of an extra

        return await GrpcConnection.open(addr, token, start, certificate)
    tls = None if certificate is None else certificate.context()
    if wire == "http":
        return await HttpConnection.open(addr, token, start, tls)
    websocket = await open_websocket(addr, token, start.trace_id, _SCHEMES.get(wire, "Bearer "), tls)
    match wire:
        case "deepgram":
            return DeepgramConnection(websocket)
        case "assemblyai":
            return AssemblyAiConnection(websocket, start)
        case "openai":
            return OpenAiConnection(websocket, start)
    return websocket
