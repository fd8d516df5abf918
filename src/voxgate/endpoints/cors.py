"""Cross-origin requests: web pages of the origins that may connect read the answers, and others get none."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import answer_of, respond
from voxgate.service.access import Gate
from voxgate.service.access.addresses import Headers, values_of
from voxgate.service.admission import Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo

__all__ = ["READ_METHODS", "CrossOrigin", "cors_headers", "preflight"]

READ_METHODS: Final = ("GET", "HEAD", "OPTIONS")

_ALLOWED_HEADERS: Final = "authorization, content-type, traceparent, tracestate"
_EXPOSED_HEADERS: Final = "Retry-After, x-request-id, dg-request-id, dg-error"
_NAMES: Final = re.compile(rb"[\w!#$%&'*+.^`|~, -]{1,1000}", re.ASCII)
_MAX_AGE_S: Final = 600

_FORBIDDEN: Final = Refusal(RefusalKind.FORBIDDEN, "origin", "web pages of this origin may not connect")


class CrossOrigin:
    """Answers a path that is read (READ_METHODS) for pages of other origins too, if they may connect."""

    def __init__(self, gate: Gate, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self._gate = gate
        self._respond = respond

    async def respond(self, request: Request) -> Response:
        client = client_of(request.scope, self._gate)
        if request.method == "OPTIONS":
            return preflight(self._gate, client, ", ".join(READ_METHODS), request.scope["headers"])
        response = await self._respond(request)
        response.headers.update(cors_headers(self._gate, client))
        return response


def cors_headers(gate: Gate, client: ClientInfo) -> dict[str, str]:
    """The headers that let the page of `client` read an answer; none for a client that is no page, or one that may not
    connect.
    """
    if client.origin is None or not gate.allows_origin(client):
        return {}
    return {
        "Access-Control-Allow-Origin": client.origin,
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
        "Vary": "Origin",
    }


def preflight(gate: Gate, client: ClientInfo, methods: str, request_headers: Headers = ()) -> Response:
    """The answer to OPTIONS. `methods`: those of the path, separated by commas. A page may send any header that it asks
    for: those of the services' libraries change with their versions.
    """
    if not gate.allows_origin(client):
        return respond(answer_of(_FORBIDDEN))
    headers = {"Allow": methods, **cors_headers(gate, client)}
    if client.origin is not None:
        headers |= {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": _asked_for(request_headers) or _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        }
    return Response(status_code=204, headers=headers)


def _asked_for(request_headers: Headers) -> str:
    """The names of headers in the request of a browser; empty when it names none, or they cannot be read."""
    values = values_of(request_headers, b"access-control-request-headers")
    return values[0].decode() if len(values) == 1 and _NAMES.fullmatch(values[0]) else ""
