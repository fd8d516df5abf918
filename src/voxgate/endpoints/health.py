"""Health, readiness and metrics over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import answer_of, respond
from voxgate.service.access import Gate
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["HEALTH_PATH", "METRICS_PATH", "PROBE_PATHS", "READY_PATH", "Guard", "Health"]

HEALTH_PATH: Final = "/api/v1/health"
READY_PATH: Final = "/api/v1/ready"
PROBE_PATHS: Final = (HEALTH_PATH, READY_PATH)
METRICS_PATH: Final = "/metrics"
RETRY_AFTER: Final = {"Retry-After": "5"}  # seconds

Respond = Callable[[Request], Awaitable[Response]]


class Health:
    """How the server is doing. Each method answers one path."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def healthy(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "healthy"})

    async def ready(self, request: Request) -> Response:
        """Whether a new stream would be accepted."""
        closed = self._service.admission.why_closed()
        if closed is None:
            return JSONResponse({"status": "ready"})
        reason = self._service.not_ready or closed.text
        return JSONResponse({"status": "not ready", "reason": reason}, 503, RETRY_AFTER)

    async def metrics(self, request: Request) -> Response:
        """A scrape in the format that its headers ask for."""
        headers = request.headers
        exposition = await self._service.metrics.expose(headers.get("accept", ""), headers.get("accept-encoding", ""))
        return Response(exposition.body, headers=exposition.headers)


class Guard:
    """Answers a path only for clients with a token, when the server asks for one."""

    def __init__(self, entry: Entry, gate: Gate, respond: Respond) -> None:
        self._entry = entry
        self._gate = gate
        self._respond = respond

    async def respond(self, request: Request) -> Response:
        refusal = await self._entry.authorize(client_of(request.scope, self._gate))
        return await self._respond(request) if refusal is None else respond(answer_of(refusal))
