"""The client of a call."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from voxgate.protocol.wires import WireName
from voxgate.service.access import Gate
from voxgate.service.client_info import ClientInfo

__all__ = ["address_of", "client_of"]


def client_of(context: Any, gate: Gate, is_secure: bool, wire: WireName) -> ClientInfo:
    """What a call says about its client: in its metadata, and by its connection."""
    headers = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in context.invocation_metadata()
    ]
    return gate.client(address_of(context.peer()), is_secure, headers)._replace(wire=wire)


def address_of(peer: str) -> str | None:
    """The address in gRPC's name of a peer, such as `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`; None: it has none,
    as that of a Unix socket.
    """
    scheme, _, rest = unquote(peer).partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return None
    return rest.rpartition(":")[0].strip("[]")
