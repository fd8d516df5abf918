"""Cross-origin requests: web pages of the origins that may connect read the answers, and others get none."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from voxgate.endpoints.refusals import answer_of, respond
from voxgate.service.access import Gate
from voxgate.service.admission import Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo

__all__ = ["cors_headers", "preflight"]

_ALLOWED_HEADERS: Final = "authorization, content-type, traceparent, tracestate"
_MAX_AGE_S: Final = 600

_FORBIDDEN: Final = Refusal(RefusalKind.FORBIDDEN, "origin", "web pages of this origin may not connect")


def cors_headers(gate: Gate, client: ClientInfo) -> dict[str, str]:
    """The headers that let the page of `client` read an answer; none for a client that is no page, or one that may not
    connect.
    """
    if client.origin is None or not gate.allows_origin(client):
        return {}
    return {
        "Access-Control-Allow-Origin": client.origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def preflight(gate: Gate, client: ClientInfo, methods: str) -> Response:
    """The answer to OPTIONS. `methods`: those of the path, separated by commas."""
    if not gate.allows_origin(client):
        return respond(answer_of(_FORBIDDEN))
    headers = {"Allow": methods, **cors_headers(gate, client)}
    if client.origin is not None:
        headers |= {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        }
    return Response(status_code=204, headers=headers)
