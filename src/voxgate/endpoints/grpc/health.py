"""`grpc.health.v1`: follows the readiness of the server, as `GET /api/v1/ready` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from voxgate.service.service import Service

__all__ = ["NAME", "Health"]

NAME: Final[str] = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

LOOK_EVERY_S: Final = 1.0
MAX_WATCHERS: Final = 64
"""They are no streams, and no other limit counts them."""


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers to any client, as the probes over HTTP do."""

    def __init__(self, service: Service, names: Sequence[str]) -> None:
        """`names`: of the services that there are; the empty name is that of the whole server."""
        self._service = service
        self._names = frozenset(("", *names))
        self._n_watchers = 0

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r}")
        return health_pb2.HealthCheckResponse(status=self._status())

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext) -> None:
        if self._n_watchers >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHERS} clients watch already")
        self._n_watchers += 1
        with contextlib.suppress(grpc.aio.BaseError):  # the client is gone
            await self._watch(request, context)

    async def _watch(self, request: Any, context: grpc.aio.ServicerContext) -> None:
        try:
            told: int | None = None
            while True:
                status = self._status() if request.service in self._names else _UNKNOWN
                if status != told:
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    told = status
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._n_watchers -= 1

    def _status(self) -> int:
        is_ready = self._service.admission.why_closed() is None
        response = health_pb2.HealthCheckResponse
        status: int = response.SERVING if is_ready else response.NOT_SERVING
        return status


_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
