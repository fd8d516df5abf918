"""`grpc.health.v1`: follows the readiness of the server, as `GET /api/v1/ready` does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from voxgate.endpoints.grpc.request import RequestReader, answer
from voxgate.service.service import Service

__all__ = ["NAME", "Health"]

NAME: Final[str] = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

LOOK_EVERY_S: Final = 1.0
MAX_WATCHERS: Final = 64
"""They are no streams, and no other limit counts them."""


class Health:
    """Answers to any client, as the probes over HTTP do."""

    def __init__(self, service: Service, names: Sequence[str], reader: RequestReader) -> None:
        """`names`: of the services that there are; the empty name is that of the whole server."""
        self._service = service
        self._names = frozenset(("", *names))
        self._reader = reader
        self._n_watchers = 0

    async def check(self, messages: Any, context: grpc.aio.ServicerContext) -> None:
        request = await self._reader.read(context, _parse, _REQUEST)
        if request is None:
            return
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r}")
        await answer(context, _response(self._status()))

    async def watch(self, messages: Any, context: grpc.aio.ServicerContext) -> None:
        if self._n_watchers >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHERS} clients watch already")
        self._n_watchers += 1
        try:
            request = await self._reader.read(context, _parse, _REQUEST)
            if request is not None:
                await self._watch(request, context)
        except grpc.aio.BaseError:  # the client is gone
            pass
        finally:
            self._n_watchers -= 1

    async def _watch(self, request: Any, context: grpc.aio.ServicerContext) -> None:
        told: int | None = None
        while True:
            status = self._status() if request.service in self._names else _UNKNOWN
            if status != told:
                await context.write(_response(status))
                told = status
            await asyncio.sleep(LOOK_EVERY_S)

    def _status(self) -> int:
        is_ready = self._service.admission.why_closed() is None
        response = health_pb2.HealthCheckResponse
        status: int = response.SERVING if is_ready else response.NOT_SERVING
        return status


def _response(status: int) -> bytes:
    data: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return data


_REQUEST: Final = "HealthCheckRequest"
_parse: Final = health_pb2.HealthCheckRequest.FromString
_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
