"""The ASGI application: which object answers which path."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as HttpRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from voxgate.endpoints.apis import APIS
from voxgate.endpoints.cors import READ_METHODS, CrossOrigin
from voxgate.endpoints.health import HEALTH_PATH, METRICS_PATH, PROBE_PATHS, READY_PATH, Guard, Health
from voxgate.endpoints.native import NativeWire
from voxgate.endpoints.page import Page
from voxgate.endpoints.refusals import answer_of, refuse, respond
from voxgate.endpoints.stream_route import StreamRoute
from voxgate.protocol.machine import ROUTES, Route
from voxgate.runtime import tasks
from voxgate.service.access import host_of
from voxgate.service.admission import Admission, Refusal, RefusalKind
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["Started", "create_app"]

STREAM_PATHS: Final[dict[str, Route]] = {f"/api/v1/{route}": route for route in ROUTES}
STOP_TIMEOUT_S: Final = 0.5

Started = Callable[[BaseException | None], None]


def create_app(service: Service, on_started: Started | None = None) -> Starlette:
    """The ASGI application that serves `service`; its lifespan starts the model in the background, and stops it.

    It accepts connections at once, but readiness and the streams answer 503 until the model is warm. `on_started` is
    then called with None, or with the error that the start raised.
    """
    gate, entry = service.gate, Entry(service.gate, service.admission, service.model, service.config.auth.in_start)
    health, page, not_found = Health(service), Page(service, entry), NotFound(service.admission)
    info = Guard(entry, gate, page.info)
    metrics = Guard(entry, gate, health.metrics).respond if service.config.auth.metrics else health.metrics
    app = Starlette(
        routes=[
            HttpRoute(HEALTH_PATH, health.healthy),
            HttpRoute(READY_PATH, CrossOrigin(gate, health.ready).respond, methods=READ_METHODS),
            HttpRoute(METRICS_PATH, metrics),
            HttpRoute("/api/v1/info", CrossOrigin(gate, info.respond).respond, methods=READ_METHODS),
            HttpRoute("/", page.asset),
            HttpRoute("/web/{file:path}", page.asset),
            *(
                WebSocketRoute(path, StreamRoute(service, entry, route, NativeWire))
                for path, route in STREAM_PATHS.items()
            ),
            *(route for api in APIS if api.is_on(service.config.endpoints) for route in api.routes(service, entry)),
        ],
        lifespan=Lifespan(service, on_started),
        exception_handlers={404: not_found.respond, 405: wrong_method},
        middleware=[Middleware(HostCheck, service), Middleware(MetricsPortMiddleware, service, not_found)],
    )
    app.router.default = Unrouted(app.routes, not_found)
    app.router.redirect_slashes = False  # it would redirect to any host that the client names
    return app


class Lifespan:
    """Starts the service in the background, and stops it with the application."""

    def __init__(self, service: Service, on_started: Started | None) -> None:
        self._service = service
        self._on_started = on_started

    @contextlib.asynccontextmanager
    async def __call__(self, app: Starlette) -> AsyncIterator[None]:
        starting = tasks.spawn_task(self._start(), "service-start", "service")
        try:
            yield
        finally:
            starting.cancel()
            await self._service.stop(STOP_TIMEOUT_S)

    async def _start(self) -> None:
        try:
            await self._service.start()
        except Exception as error:
            if self._on_started is None:
                raise
            self._on_started(error)
        else:
            if self._on_started is not None:
                self._on_started(None)


class HostCheck:
    """Refuses requests that use a name of the server which is not allowed (access.hosts). Health and readiness answer
    to any name: probes of orchestrators use addresses, and the answers contain no secrets.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in PROBE_PATHS:
            await self._app(scope, receive, send)
            return
        client, headers = scope["client"], scope["headers"]
        if self._service.gate.allows_host(client[0] if client else None, headers):
            await self._app(scope, receive, send)
        else:
            await refuse(self._service.admission, _wrong_host(headers), scope, receive, send)


class MetricsPortMiddleware:
    """Metrics with a port of their own are served there and nowhere else, and nothing else is served there."""

    def __init__(self, app: ASGIApp, service: Service, not_found: ASGIApp) -> None:
        self._app = app
        self._service = service
        self._not_found = not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        port = self._service.metrics.port
        if (
            port is None
            or scope["type"] == "lifespan"
            or (scope["server"][1] == port) == (scope["path"] == METRICS_PATH)
        ):
            await self._app(scope, receive, send)
        else:
            await self._not_found(scope, receive, send)


class NotFound:
    """Any other path: 404, for websockets before the upgrade."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(self.admission, _not_found_at(scope["path"]), scope, receive, send)

    async def respond(self, request: Request, error: Exception) -> Response:
        return respond(answer_of(_not_found_at(request.url.path)))


class Unrouted:
    """Requests that no route takes: on a path that only websockets have, or requests have, they learn that."""

    def __init__(self, routes: Iterable[BaseRoute], not_found: NotFound) -> None:
        self._websockets = {route.path for route in routes if isinstance(route, WebSocketRoute)}
        self._requests = {route.path for route in routes if isinstance(route, HttpRoute)}
        self._not_found = not_found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["type"] == "http" and path in self._websockets:
            await _expected_websocket(scope)(scope, receive, send)
        elif scope["type"] == "websocket" and path in self._requests:
            refusal = Refusal(RefusalKind.INVALID, "invalid_request", f"expected a request at {path}, got a websocket")
            await refuse(self._not_found.admission, refusal, scope, receive, send)
        else:
            await self._not_found(scope, receive, send)


def _expected_websocket(scope: Scope) -> Response:
    """To a request on a path for websockets: 426 for the method that opens one, 405 for others."""
    method, text = scope["method"], f"expected a websocket at {scope['path']}, got"
    if method == "GET":
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return JSONResponse({"error": f"{text} a request without an upgrade", "code": "upgrade_required"}, 426, headers)
    return JSONResponse({"error": f"{text} {method:.20}", "code": "method_not_allowed"}, 405, {"Allow": "GET"})


async def wrong_method(request: Request, error: Exception) -> Response:
    """Another method than those of the path: 405."""
    assert isinstance(error, HTTPException)
    assert error.headers is not None
    allowed = ", ".join(sorted(error.headers["Allow"].split(", ")))
    text = f"expected {allowed} at {request.url.path}, got {request.method:.20}"
    return JSONResponse({"error": text, "code": "method_not_allowed"}, 405, {"Allow": allowed})


def _not_found_at(path: str) -> Refusal:
    return Refusal(RefusalKind.NOT_FOUND, "not_found", f"nothing at {path}")


def _wrong_host(headers: Iterable[tuple[bytes, bytes]]) -> Refusal:
    name = next((host_of(value) for key, value in headers if key == b"host"), None)
    shown, allowed = ("this host", "NAME") if name is None else (f"host {name!r}", name)
    text = f"{shown} is not allowed: server.allowed_hosts has to name it (--set server.allowed_hosts=local,{allowed})"
    return Refusal(RefusalKind.MISDIRECTED, "host", text)
