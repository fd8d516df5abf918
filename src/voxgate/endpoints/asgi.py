"""The routes, on Starlette: websockets become connections; the rest is health, readiness, the page and a clear 404."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from voxgate.endpoints import page
from voxgate.errors import InternalError, Unauthorized, VoxgateError
from voxgate.runtime import tasks
from voxgate.service.access import SUBPROTOCOL, Peer, Verdict, credentials_of, host_of
from voxgate.service.admission import Permit, Refusal
from voxgate.service.service import Service
from voxgate.session import routes as runners
from voxgate.session.record import ClientInfo
from voxgate.session.session import Connection, Listener

logger = logging.getLogger(__name__)

SECURE_SCHEMES = ("https", "wss")
UNAUTHORIZED = Refusal(401, "unauthorized", "expected a good token: Authorization: Bearer TOKEN")
AUTH_UNAVAILABLE = Refusal(503, "auth_unavailable", "tokens cannot be checked at the moment", 5)
STREAM_PATHS: dict[str, runners.Route] = {f"/api/v1/{route}": route for route in runners.HANDLERS}
METRICS_PATH = "/metrics"
HEALTH_PATHS = ("/api/v1/health", "/api/v1/ready")
STOP_TIMEOUT_S = 0.5
RETRY_AFTER = {"Retry-After": "5"}  # seconds

Endpoint = Callable[[Request], Awaitable[Response]]
Started = Callable[[BaseException | None], None]


def create_app(service: Service, on_started: Started | None = None) -> Starlette:
    """The ASGI application that serves `service`; its lifespan starts the model in the background, and stops it.

    Connections are accepted at once, but ready and the streams answer 503 until the model is warm. `on_started` is
    called when it is, with None, or with the error that kept it from being so.
    """

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "healthy"})

    async def ready(request: Request) -> JSONResponse:
        closed = service.admission.why_closed()
        if closed is None:
            return JSONResponse({"status": "ready"})
        reason = service.not_ready or closed.text
        return JSONResponse({"status": "not ready", "reason": reason}, 503, RETRY_AFTER)

    async def metrics(request: Request) -> Response:
        headers = request.headers
        exposition = await service.metrics.expose(headers.get("accept", ""), headers.get("accept-encoding", ""))
        return Response(exposition.body, headers=exposition.headers)

    assets = page.load_assets()

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params.get("file", page.INDEX))
        if found is None:
            return JSONResponse(_body_of(_not_found_at(request.url.path)), 404)
        headers = {**page.HEADERS, "ETag": found.etag}
        if page.is_known(found, request.headers.get("If-None-Match")):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type=found.content_type)

    async def info(request: Request) -> JSONResponse:
        routes: dict[str, str | None] = {route: _why_unserved(service, route) for route in runners.HANDLERS}
        return JSONResponse(page.describe(service, routes), headers={"Cache-Control": "no-store"})

    async def wrong_method(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(_body_of(_not_found_at(request.url.path)), 404)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async def start() -> None:
            try:
                await service.start()
            except Exception as error:
                if on_started is None:
                    raise
                on_started(error)
            else:
                if on_started is not None:
                    on_started(None)

        starting = tasks.spawn_task(start(), "service-start", "service")
        try:
            yield
        finally:
            starting.cancel()
            await service.stop(STOP_TIMEOUT_S)

    routes: list[BaseRoute] = [Route(path, say) for path, say in zip(HEALTH_PATHS, (health, ready), strict=True)]
    routes.append(Route(METRICS_PATH, guarded(service, metrics) if service.config.auth.metrics else metrics))
    routes += [Route("/api/v1/info", guarded(service, info)), Route("/", asset), Route("/web/{file}", asset)]
    routes += [WebSocketRoute(path, StreamEndpoint(service, route)) for path, route in STREAM_PATHS.items()]
    not_found = NotFound(service)
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={405: wrong_method},
        middleware=[Middleware(HostCheck, service), Middleware(MetricsPortMiddleware, service, not_found)],
    )
    app.router.default = not_found
    app.router.redirect_slashes = False  # it would redirect to whatever host the client has named
    return app


class HostCheck:
    """Refuses requests that call the server by a name which is not allowed (access.hosts). Health and readiness answer
    to any name: probes of orchestrators use addresses, and there is nothing to read.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in HEALTH_PATHS:
            await self._app(scope, receive, send)
            return
        client, headers = scope["client"], scope["headers"]
        if self._service.gate.allows_host(client[0] if client else None, headers):
            await self._app(scope, receive, send)
        else:
            await _turn_away(self._service, _wrong_host(headers), scope, receive, send)


class MetricsPortMiddleware:
    """Metrics that have a port of their own are there, alone, and nowhere else."""

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


def guarded(service: Service, endpoint: Endpoint) -> Endpoint:
    """`endpoint` for those alone who have a token, when the server asks for one."""

    async def guard(request: Request) -> Response:
        gate = service.gate
        token = credentials_of(request.scope["headers"])
        if not gate.asks_for_token:
            verdict = Verdict.GOOD
        elif token is None:
            verdict = Verdict.BAD
        else:
            verdict = await gate.check(token, _peer(service, request.scope).address)
        if verdict is Verdict.GOOD:
            return await endpoint(request)
        refusal = UNAUTHORIZED if verdict is Verdict.BAD else AUTH_UNAVAILABLE
        service.admission.record(refusal)
        return JSONResponse(_body_of(refusal), refusal.status, _headers_of(refusal))

    return guard


class StreamEndpoint:
    """One streaming route: admits a websocket, or refuses it before the upgrade, and serves it to its end."""

    def __init__(self, service: Service, route: runners.Route) -> None:
        self._service = service
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        await receive()  # websocket.connect
        permit = await self._admit(scope)
        if isinstance(permit, Refusal):
            service.admission.record(permit)
            await _refuse(scope, send, permit)
            return
        try:

            async def check_token(token: str) -> VoxgateError | None:
                error = await self._check_token(token, _peer(service, scope).address)
                if error is None:
                    permit.confirm()
                return error

            accept = {"type": "websocket.accept"}
            if SUBPROTOCOL in scope["subprotocols"]:
                accept["subprotocol"] = SUBPROTOCOL
            await send(accept)
            due = check_token if permit.is_pending else None
            caller = _caller(service, scope)
            await Connection(WebSocket(scope, receive, send), service, self._route, due, caller).run()
        finally:
            permit.release()

    async def _admit(self, scope: Scope) -> Permit | Refusal:
        """In an order that tells strangers least and costs least: the hook, which may take its time, comes last."""
        service, gate = self._service, self._service.gate
        unserved = _why_unserved(service, self._route)
        if unserved is not None:
            return Refusal(501, "not_served", f"{scope['path']} is not served: {unserved}")
        headers, peer = scope["headers"], _peer(service, scope)
        if not gate.allows_origin(headers, peer):
            return Refusal(403, "origin", "web pages of this origin may not connect")
        token, verdict = None, Verdict.GOOD
        if gate.asks_for_token:
            token = credentials_of(headers, scope["subprotocols"])
            if token is None:
                verdict = Verdict.UNKNOWN if service.config.auth.in_start else Verdict.BAD
            else:
                verdict = gate.judge(token)
            if verdict is Verdict.BAD:
                return UNAUTHORIZED
        permit = service.admission.admit(peer.address, is_pending=verdict is Verdict.UNKNOWN)
        if token is None or verdict is Verdict.GOOD or isinstance(permit, Refusal):
            return permit
        try:
            verdict = await gate.check(token, peer.address)
            if verdict is Verdict.GOOD:
                permit.confirm()
        finally:
            if permit.is_pending:
                permit.release()
        return permit if verdict is Verdict.GOOD else AUTH_UNAVAILABLE if verdict is Verdict.UNKNOWN else UNAUTHORIZED

    async def _check_token(self, token: str, address: str | None) -> VoxgateError | None:
        """The token of a start."""
        match await self._service.gate.check(token, address):
            case Verdict.GOOD:
                return None
            case Verdict.BAD:
                self._service.admission.record(UNAUTHORIZED)
                return Unauthorized("the token of the start is not good")
            case Verdict.UNKNOWN:
                self._service.admission.record(AUTH_UNAVAILABLE)
                return InternalError(AUTH_UNAVAILABLE.text)


class NotFound:
    """Any other path: 404, for websockets before the upgrade."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _turn_away(self._service, _not_found_at(scope["path"]), scope, receive, send)


class WebSocket:
    """An accepted ASGI websocket as a connection's transport. Straight to ASGI: nothing stands between per message."""

    __slots__ = ("_receive", "_send", "_shortcut", "close_code", "close_reason")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        # Our server's own (serving.websocket); others have none.
        self._shortcut: Callable[[Listener | None], None] | None = scope["extensions"].get("voxgate.shortcut")
        self.close_code = 1006
        self.close_reason = ""

    async def receive(self) -> str | bytes | None:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.close_code, self.close_reason = message.get("code") or 1005, message.get("reason") or ""
            return None
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        text: str = message["text"]
        return text

    def listen(self, listener: Listener | None) -> None:
        if self._shortcut is not None:
            self._shortcut(listener)

    async def send(self, text: str) -> None:
        # Servers raise OSError, or a subclass, for a client that is gone, and RuntimeError when it was thrown out for
        # breaking the rules of websockets while something was still to be said to it.
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the latter when the closing handshake has begun
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _peer(service: Service, scope: Scope) -> Peer:
    client = scope["client"]
    return service.gate.peer(client[0] if client else None, scope["scheme"] in SECURE_SCHEMES, scope["headers"])


def _caller(service: Service, scope: Scope) -> ClientInfo:
    headers, peer = Headers(scope=scope), _peer(service, scope)
    return ClientInfo(peer.address, headers.get("traceparent"), headers.get("tracestate"))


def _why_unserved(service: Service, route: runners.Route) -> str | None:
    """What a route asks of the model that it does not have; None: nothing."""
    model = service.model
    if route == "stateful":
        return None if model.stateful else f"model {model.name!r} keeps nothing between its calls: it has no step()"
    return None if model.stateless else f"model {model.name!r} answers no audio on its own: it has no infer()"


def _not_found_at(path: str) -> Refusal:
    return Refusal(404, "not_found", f"nothing at {path}" + (": it is a websocket" if path in STREAM_PATHS else ""))


def _wrong_host(headers: Iterable[tuple[bytes, bytes]]) -> Refusal:
    name = next((host_of(value) for key, value in headers if key == b"host"), None)
    shown, allowed = ("this host", "NAME") if name is None else (f"host {name!r}", name)
    text = f"{shown} is not allowed: server.allowed_hosts has to name it (--set server.allowed_hosts=local,{allowed})"
    return Refusal(421, "host", text)


def _headers_of(refusal: Refusal) -> dict[str, str]:
    headers = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _body_of(refusal: Refusal) -> dict[str, str]:
    return {"error": refusal.text, "code": refusal.reason}


async def _turn_away(service: Service, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Of any request; those for websockets are counted."""
    if scope["type"] == "http":
        await JSONResponse(_body_of(refusal), refusal.status)(scope, receive, send)
        return
    await receive()
    service.admission.record(refusal)
    await _refuse(scope, send, refusal)


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1013 if refusal.retry_after_s is not None else 1008})
        return
    headers = {"Content-Type": "application/json", **_headers_of(refusal)}
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": raw_headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(_body_of(refusal)).encode()})
