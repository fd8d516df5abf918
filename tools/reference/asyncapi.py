"""The protocol as an AsyncAPI 3.0 document: the routes, what goes over each in which direction, credentials, closes."""

from __future__ import annotations

from typing import Any, Final

from voxgate import __version__
from voxgate.protocol.machine import ROUTES, Route
from voxgate.service.access import SUBPROTOCOL

from .answers import CLOSES, REFUSALS
from .schema import EVENTS, REQUESTS, ROUTE_SEGMENTS, definitions

__all__ = ["asyncapi"]

_REF: Final = "#/components/schemas/"
_ROUTES: Final[dict[Route, str]] = {
    "simple": "All audio reaches the model, in whatever groups have arrived; a `segment` per call.",
    "segmented": "Only speech reaches the model, cut into utterances by voice-activity detection.",
    "stateful": "All audio reaches the model, in order; the state left by one call goes into the next.",
}
_ONLY_SEGMENTED: Final = ("Active", "Inactive", "SpeechResumed", "Probabilities")
_NEVER_SENT: Final = ("Data",)  # it is in the contract, and none of the routes has a use for it
_EXAMPLE: Final[dict[str, dict[str, Any]]] = {
    "Start": {
        "request": "start",
        "format": {"channels": 1, "sample_rate": 16000, "bit_depth": 16, "is_float": False},
        "interim_results": True,
    },
    "Stop": {"request": "stop", "disconnect": True},
    "Flush": {"request": "flush"},
    "Clear": {"request": "clear"},
    "KeepAlive": {"request": "keep_alive"},
    "Utterance": {
        "type": "segment", "start_time": 0.3, "end_time": 1.5, "is_final": True, "text": "good morning", "channel": 0,
    },
    "Result": {"type": "segment", "start_time": 0.0, "end_time": 1.5, "count": 24000, "channel": 0},
    "Active": {"type": "active", "time": 0.3, "channel": 0},
    "Inactive": {"type": "inactive", "time": 1.5, "channel": 0},
    "SpeechResumed": {"type": "resumed", "time": 1.9, "channel": 0},
    "Error": {
        "type": "error", "message": "format.channels must be 1..8, got 9", "code": "invalid_start", "channel": 0,
    },
    "Started": {
        "type": "started", "session_id": "9f3c", "model": "features", "limits": {"channels": 8}, "channel": 0,
    },
    "Progress": {
        "type": "progress", "received_s": 12.0, "processed_s": 11.4, "lag_s": 0.6, "real_time_factor": 0.02,
        "channel": 0,
    },
    "Finished": {
        "type": "finished", "received_s": 14.5, "processed_s": 14.5, "results": 4, "errors": 0, "channel": 0,
    },
    "Draining": {"type": "draining", "grace_s": 30.0, "channel": 0},
    "Probabilities": {
        "type": "probabilities", "start_time": 0.128, "step_s": 0.032, "values": [0.004, 0.871], "channel": 0,
    },
}  # fmt: skip


def asyncapi() -> dict[str, Any]:
    """The document, with JSON's types."""
    schemas = {name: part for name, part in definitions(_REF).items() if name not in ("Segment", *_NEVER_SENT)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Voxgate",
            "version": __version__,
            "description": "Live audio in, events out, version 1 of the protocol. A session is `start`, any number of"
            " binary messages, `stop`; a connection may hold any number of sessions, one after the other."
            " docs/protocol.md is the whole contract.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "localhost:8080",
                "protocol": "ws",
                "description": "As `voxgate serve` starts it: without tokens, to be heard on its own machine alone.",
            },
            "tls": {
                "host": "{host}",
                "protocol": "wss",
                "description": "On an open network: with TLS, and with tokens.",
                "variables": {"host": {"description": "Name, and port where it is not 443.", "default": "localhost"}},
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _security()],
            },
        },
        "channels": {route: _channel(route) for route in ROUTES},
        "operations": {name: operation for route in ROUTES for name, operation in _operations(route).items()},
        "components": {
            "schemas": schemas,
            "messages": {"Audio": _audio(), **{name: _message(name) for name in schemas if name in _EXAMPLE}},
            "securitySchemes": _security(),
        },
        "x-close-codes": {str(close.code): close.why for close in CLOSES},
        "x-refusals": [
            {
                "status": refused.status,
                "code": refused.code,
                "description": refused.why,
                "retry-after": refused.may_retry,
            }
            for refused in REFUSALS
        ],
    }


def _said_by_clients() -> list[str]:
    return ["Audio", *(kind.__name__ for kind in REQUESTS)]


def _said_by_the_server(route: Route) -> list[str]:
    names = [ROUTE_SEGMENTS[route]]
    for kind in EVENTS:
        name = kind.__name__
        if name in ("Segment", *_NEVER_SENT) or (name in _ONLY_SEGMENTED and route != "segmented"):
            continue
        names.append(name)
    return names


def _channel(route: Route) -> dict[str, Any]:
    messages = [*_said_by_clients(), *_said_by_the_server(route)]
    return {
        "address": f"/api/v1/{route}",
        "title": f"The {route} route",
        "description": _ROUTES[route] + " Served when the model is made for it; else the upgrade is refused with 501.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "headers": _headers(), "bindingVersion": "0.1.0"}},
    }


def _operations(route: Route) -> dict[str, Any]:
    def operation(action: str, summary: str, names: list[str]) -> dict[str, Any]:
        return {
            "action": action,
            "channel": {"$ref": f"#/channels/{route}"},
            "summary": summary,
            "messages": [{"$ref": f"#/channels/{route}/messages/{name}"} for name in names],
        }

    # Actions are those of the server.
    return {
        f"{route}.receive": operation("receive", "Audio, and requests about it.", _said_by_clients()),
        f"{route}.send": operation("send", "Results, and what else is said.", _said_by_the_server(route)),
    }


def _message(name: str) -> dict[str, Any]:
    part = definitions()[name]
    return {
        "name": name,
        "title": name,
        "summary": part["description"],
        "payload": {"$ref": f"{_REF}{name}"},
        "examples": [{"payload": _EXAMPLE[name]}],
    }


def _audio() -> dict[str, Any]:
    return {
        "name": "Audio",
        "title": "Audio",
        "summary": "A binary message: interleaved little-endian samples in the format of the last `start`, any length,"
        " cut anywhere, also inside a sample.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "Authorization": {"type": "string", "description": "`Bearer TOKEN`, where the server asks for one."},
            "Sec-WebSocket-Protocol": {
                "type": "string",
                "description": f"`{SUBPROTOCOL}, voxgate.token.TOKEN64`, for web pages, which cannot set headers;"
                f" TOKEN64 is the token in base64url without padding. The answer is `{SUBPROTOCOL}`.",
            },
            "traceparent": {"type": "string", "description": "W3C trace context, to join the client's trace."},
            "tracestate": {"type": "string", "description": "W3C trace context, handed on."},
        },
    }


def _security() -> dict[str, Any]:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "For programs: the header Authorization of the request to connect.",
        },
        "subprotocol": {
            "type": "httpApiKey",
            "in": "header",
            "name": "Sec-WebSocket-Protocol",
            "description": f"For web pages: `{SUBPROTOCOL}, voxgate.token.TOKEN64`.",
        },
        "inStart": {
            "type": "userPassword",
            "description": "For clients that can do neither: the field `token` of the first `start`, as the only"
            " credential; there is no user. A server may have it switched off.",
        },
    }
