"""The client of an ASGI request."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from voxgate.service.access import Gate
from voxgate.service.client_info import ClientInfo

__all__ = ["client_of"]

SECURE_SCHEMES: Final = ("https", "wss")


def client_of(scope: Scope, gate: Gate) -> ClientInfo:
    """What the scope of a request or a websocket says about its client."""
    address = scope["client"][0] if scope["client"] else None
    is_secure = scope["scheme"] in SECURE_SCHEMES
    return gate.client(address, is_secure, scope["headers"], scope.get("subprotocols", ()))
