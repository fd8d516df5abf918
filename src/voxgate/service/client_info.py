"""What a server knows of a client before its first message, on whatever wire it came."""

from __future__ import annotations

from typing import Final, NamedTuple

from voxgate.protocol.wires import WireName

__all__ = ["UNKNOWN_CLIENT", "ClientInfo"]


class ClientInfo(NamedTuple):
    """Made by the endpoint from its own request, behind proxies that the settings trust (`access.Gate.client`)."""

    address: str | None = None
    """Counted as one client, without the port: an IPv4 address or the /64 network of an IPv6 one; None: unknown."""
    is_secure: bool = False
    """The client speaks TLS, to the server or to the proxy."""
    host: str | None = None
    """The host and port that the client asked for."""
    origin: str | None = None
    """That of the web page; None: the client is no web page. Empty, which no page has, when it sent several."""
    token: str | None = None
    """As credentials of the request; None: none; empty, which is never valid, when it cannot be read."""
    traceparent: str | None = None
    """As it came, valid or not."""
    tracestate: str | None = None
    wire: WireName = "native"
    """The API that it uses."""
    request_id: str | None = None
    """The server's name for the request, on wires that answer one; it is the id of the session too."""
    identity: str | None = None
    """The name that the access hook gave to the client; None: it gave none, or was not asked yet."""

    def __repr__(self) -> str:
        return f"ClientInfo(address={self.address!r}, is_secure={self.is_secure}, host={self.host!r})"


UNKNOWN_CLIENT: Final = ClientInfo()
