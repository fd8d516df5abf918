"""`Info`: what `GET /api/v1/info` says."""

from __future__ import annotations

from typing import Any

import grpc.aio
import msgspec

from voxgate.endpoints.grpc.peer import client_of
from voxgate.endpoints.grpc.request import answer
from voxgate.endpoints.grpc.statuses import status_of_refusal
from voxgate.endpoints.grpc.struct_bytes import length, struct_bytes
from voxgate.endpoints.page import describe
from voxgate.protocol.machine import ROUTES
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["InfoMethod"]

FIELD = b"\x0a"  # InfoResponse.info


class InfoMethod:
    """The handler of the method."""

    def __init__(self, service: Service, entry: Entry) -> None:
        self._service = service
        self._entry = entry
        self._is_secure = service.config.server.tls_certificate is not None

    async def __call__(self, messages: Any, context: grpc.aio.ServicerContext) -> None:
        """Reads no message: the request is empty."""
        client = client_of(context, self._service.gate, self._is_secure, "grpc")
        refusal = await self._entry.authorize(client)
        if refusal is not None:
            status_of_refusal(refusal).send(context)
            return
        info = describe(self._service, {route: self._entry.why_unserved(route) for route in ROUTES})
        plain: dict[str, Any] = msgspec.to_builtins(info)
        data = struct_bytes(plain)
        await answer(context, FIELD + length(len(data)) + data)
