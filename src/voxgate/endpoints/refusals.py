"""Refusals in the words of HTTP: statuses, headers and a JSON body, for requests and before a websocket's upgrade."""

from __future__ import annotations

import json
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from voxgate.service.admission import Admission, Refusal, RefusalKind

__all__ = ["STATUSES", "refuse", "refuse_upgrade", "respond"]

STATUSES: Final = {
    RefusalKind.UNAUTHENTICATED: 401,
    RefusalKind.FORBIDDEN: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.MISDIRECTED: 421,
    RefusalKind.TOO_MANY: 429,
    RefusalKind.NOT_SERVED: 501,
    RefusalKind.UNAVAILABLE: 503,
}

POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013


def respond(refusal: Refusal) -> JSONResponse:
    """The response to an HTTP request."""
    return JSONResponse(_body_of(refusal), STATUSES[refusal.kind], _headers_of(refusal))


async def refuse(admission: Admission, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers any request. Only refused websockets count as refused clients."""
    if scope["type"] == "http":
        await respond(refusal)(scope, receive, send)
        return
    await receive()  # websocket.connect
    admission.record(refusal)
    await refuse_upgrade(refusal, scope, send)


async def refuse_upgrade(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Answers the upgrade of a websocket; a server without that extension closes it instead."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        code = POLICY_VIOLATION if refusal.retry_after_s is None else TRY_AGAIN_LATER
        await send({"type": "websocket.close", "code": code})
        return
    headers = {"Content-Type": "application/json", **_headers_of(refusal)}
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    status = STATUSES[refusal.kind]
    await send({"type": "websocket.http.response.start", "status": status, "headers": raw_headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(_body_of(refusal)).encode()})


def _headers_of(refusal: Refusal) -> dict[str, str]:
    headers = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.kind is RefusalKind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _body_of(refusal: Refusal) -> dict[str, str]:
    return {"error": refusal.text, "code": refusal.reason}
