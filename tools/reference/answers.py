"""The answers to clients that are refused or whose connection ends, defined once for all generated pages."""

from __future__ import annotations

from typing import Final, NamedTuple

from voxgate import errors
from voxgate.endpoints.wire import CLOSE_CODES
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import CloseReason

__all__ = ["CLOSES", "REFUSALS", "Close", "Refused", "close_code_of", "wire_errors"]


class Refused(NamedTuple):
    """An answer of plain HTTP in place of the upgrade."""

    status: int
    code: str
    """That of the JSON body, and the label `reason` of ``voxgate_rejected_total``."""
    why: str
    may_retry: bool = False
    """It has a ``Retry-After``."""
    remedy: str = ""
    """What the client can do, or the operator."""


class Close(NamedTuple):
    """A close frame of the server."""

    code: int
    why: str
    told: bool
    """An error event that says why comes before it."""
    remedy: str
    """When to connect again."""


REFUSALS: Final = (
    Refused(401, "unauthorized", "the token is bad, or missing where the upgrade needs one",
            remedy="send a good token (`WWW-Authenticate: Bearer`)"),
    Refused(403, "origin", "a web page of another origin", remedy="add it to `auth.origins`"),
    Refused(404, "not_found", "an unknown path",
            remedy="the routes are `/api/v1/segmented`, `/api/v1/simple` and `/api/v1/stateful`"),
    Refused(421, "host", "the `Host` is not allowed; `health` and `ready` accept any",
            remedy="add it to `server.allowed_hosts`"),
    Refused(429, "streams_per_address", "too many streams of this address", True,
            "close one, or retry; behind a proxy see `server.trusted_proxies`"),
    Refused(429, "streams_per_token", "too many streams of this token", True, "close one, or retry"),
    Refused(429, "pending_streams", "too many connections of this address without a token yet", True,
            "send the token in a header"),
    Refused(501, "not_served", "the model does not serve this route", remedy="`GET /api/v1/info` lists the routes"),
    Refused(503, "not_ready", "the model warms up or makes no progress", True),
    Refused(503, "draining", "the server shuts down", True, "use another server"),
    Refused(503, "streams", "the server is full", True),
    Refused(503, "queue_wait", "calls wait too long for the model, or its learned capacity is reached", True),
    Refused(503, "buffered_audio", "too much audio waits for the model", True),
    Refused(503, "pending_streams", "too many connections without a token yet", True, "send the token in a header"),
    Refused(503, "auth_unavailable", "tokens cannot be checked at the moment", True),
    Refused(503, "redis", "streams cannot be counted at the moment", True),
)  # fmt: skip

CLOSES: Final = (
    Close(1000, "`stop` with `disconnect`", False, "for the next stream"),
    Close(1001, "the server shuts down", False, "at once, to another server"),
    Close(1002, "an invalid websocket frame", False, "after a fix of the client"),
    Close(1007, "a text message that is not UTF-8", False, "after a fix of the client"),
    Close(1008, "a timeout, too many invalid messages, a bad token in `start`, or `limits.session_s`", True,
          "after a fix, see the error"),
    Close(1009, "a message that is too large, or in too many frames", False, "with smaller messages"),
    Close(1011, "a bug of the server, or the token of a `start` cannot be checked", True, "with a pause"),
    Close(1013, "too many streams need a decoder process (`media.streams`), or have the token of this `start`"
          " (`limits.streams_per_token`)", True, "with a pause"),
)  # fmt: skip


def close_code_of(kind: type[VoxgateError]) -> int | None:
    """The close code of the native wire that follows an error; None: the connection stays."""
    return CLOSE_CODES[CloseReason(kind.code)] if kind.is_fatal else None


def wire_errors() -> list[type[VoxgateError]]:
    """The errors that may reach a client, in the order of their definition."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VoxgateError)]
    groups = (VoxgateError, errors.MediaError)
    return [kind for kind in kinds if kind not in groups and not issubclass(kind, errors.ConfigError)]
