"""Refusals in the words of HTTP: statuses, headers and a JSON body, for requests and before a websocket's upgrade."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voxgate.service.admission import Admission, Refusal, RefusalKind

__all__ = ["FOREIGN_STATUSES", "STATUSES", "HttpAnswer", "answer_of", "refuse", "refuse_upgrade", "respond"]

STATUSES: Final[Mapping[RefusalKind, int]] = {
    RefusalKind.INVALID: 400,
    RefusalKind.UNAUTHENTICATED: 401,
    RefusalKind.FORBIDDEN: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.MISDIRECTED: 421,
    RefusalKind.TOO_MANY: 429,
    RefusalKind.NOT_SERVED: 501,
    RefusalKind.UNAVAILABLE: 503,
}

#: On the APIs of other services. Their clients come back after a 5xx, and take any 4xx for permanent.
FOREIGN_STATUSES: Final[Mapping[RefusalKind, int]] = {
    **STATUSES,
    RefusalKind.TOO_MANY: 503,
    RefusalKind.NOT_SERVED: 400,
}

POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013


class HttpAnswer(NamedTuple):
    """An answer with a JSON body. The names of headers are in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}


def answer_of(
    refusal: Refusal, statuses: Mapping[RefusalKind, int] = STATUSES, body: Any = None, scheme: str = "Bearer"
) -> HttpAnswer:
    """The answer to a client that is refused. `body`: None for that of the native API. `scheme`: of the authorization
    that the API uses.
    """
    headers = {}
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(refusal.retry_after_s)
    if refusal.kind is RefusalKind.UNAUTHENTICATED:
        headers["www-authenticate"] = scheme
    native = {"error": refusal.text, "code": refusal.reason}
    return HttpAnswer(statuses[refusal.kind], native if body is None else body, headers)


def respond(answer: HttpAnswer, headers: Mapping[str, str] = {}) -> Response:
    """The response to an HTTP request. `headers`: besides those of the answer."""
    return Response(_encode(answer.body), answer.status, {**answer.headers, **headers}, "application/json")


async def refuse(admission: Admission, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers any request. Only refused websockets count as refused clients."""
    answer = answer_of(refusal)
    if scope["type"] == "http":
        await respond(answer)(scope, receive, send)
        return
    await receive()  # websocket.connect
    admission.record(refusal, "native")
    await refuse_upgrade(answer, scope, send)


async def refuse_upgrade(answer: HttpAnswer, scope: Scope, send: Send) -> None:
    """Answers the upgrade of a websocket; a server without that extension closes it instead."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        code = TRY_AGAIN_LATER if "retry-after" in answer.headers else POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code})
        return
    headers = {"content-type": "application/json", **answer.headers}
    raw_headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": raw_headers})
    await send({"type": "websocket.http.response.body", "body": _encode(answer.body)})


def _encode(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
