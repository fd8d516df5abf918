"""The routes, on Starlette: websockets become connections; the rest is health, readiness and a clear 404."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from voxgate import runners, tasks
from voxgate.connection import Connection
from voxgate.service import Service

logger = logging.getLogger(__name__)

STREAM_PATHS: dict[str, runners.Route] = {f"/api/v1/{route}": route for route in runners.RUNNERS}
STOP_TIMEOUT_S = 0.5
RETRY_AFTER = {"Retry-After": "5"}  # seconds

Started = Callable[[BaseException | None], None]


def create_app(service: Service, on_started: Started | None = None) -> Starlette:
    """The ASGI application that serves `service`; its lifespan starts the model in the background, and stops it.

    Connections are accepted at once, but ready and the streams answer 503 until the model is warm. `on_started` is
    called when it is, with None, or with the error that kept it from being so.
    """

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "healthy"})

    async def ready(request: Request) -> JSONResponse:
        if service.not_ready is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": service.not_ready}, 503, RETRY_AFTER)

    async def not_found(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": _nothing_at(request.url.path)}, 404)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async def start() -> None:
            try:
                await service.start()
                # What stays for good (modules, the model) is not looked at again by the garbage collector, whose full
                # rounds would otherwise hold the event loop for 20 to 30 ms now and then.
                gc.collect()
                gc.freeze()
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

    routes: list[BaseRoute] = [Route("/api/v1/health", health), Route("/api/v1/ready", ready)]
    routes += [WebSocketRoute(path, StreamEndpoint(service, route)) for path, route in STREAM_PATHS.items()]
    routes.append(WebSocketRoute("/{path:path}", NoSuchStream()))
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: not_found, 405: not_found})


class StreamEndpoint:
    """One streaming route: admits a websocket, or refuses it before the upgrade, and serves it to its end."""

    def __init__(self, service: Service, route: runners.Route) -> None:
        self._service = service
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        await receive()  # websocket.connect
        unserved = _why_unserved(service, self._route)
        if unserved is not None:
            await _refuse(scope, send, 501, {"error": f"{scope['path']} is not served: {unserved}"})
            return
        if service.not_ready is not None:
            body = {"error": f"not ready: {service.not_ready}"}
            await _refuse(scope, send, 503, body | ({"code": "draining"} if service.draining_until_s else {}))
            return
        if service.streams >= service.config.limits.streams:
            await _refuse(scope, send, 503, {"error": f"server full: {service.config.limits.streams} streams are open"})
            return
        service.streams += 1
        try:
            await send({"type": "websocket.accept"})
            await Connection(WebSocket(receive, send), service, self._route).run()
        finally:
            service.streams -= 1


class NoSuchStream:
    """Any other websocket path: 404 before the upgrade."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await _refuse(scope, send, 404, {"error": _nothing_at(scope["path"])})


class WebSocket:
    """An accepted ASGI websocket as a connection's transport. Straight to ASGI: nothing stands between per message."""

    __slots__ = ("_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def receive(self) -> str | bytes | None:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return None
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        text: str = message["text"]
        return text

    async def send(self, text: str) -> None:
        with contextlib.suppress(OSError):  # servers raise it, or a subclass, for a client that is gone
            await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the latter when the closing handshake has begun
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _why_unserved(service: Service, route: runners.Route) -> str | None:
    """What a route asks of the model that it does not have; None: nothing."""
    model = service.model
    if route == "stateful":
        return None if model.stateful else f"model {model.name!r} keeps nothing between its calls: it has no step()"
    return None if model.stateless else f"model {model.name!r} answers no audio on its own: it has no infer()"


def _nothing_at(path: str) -> str:
    return f"nothing at {path}" + (": it is a websocket" if path in STREAM_PATHS else "")


async def _refuse(scope: Scope, send: Send, status: int, body: dict[str, str]) -> None:
    logger.info("refused a websocket with %d: %s", status, body["error"])
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1013 if status == 503 else 1008})
        return
    headers = {"Content-Type": "application/json", **(RETRY_AFTER if status == 503 else {})}
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": status, "headers": raw_headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(body).encode()})
