"""The answers to clients that are refused or whose connection ends, defined once for all generated pages."""

from __future__ import annotations

from typing import Final, NamedTuple

from voxgate import errors
from voxgate.endpoints.wire import CLOSE_CODES
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import CloseReason
from voxgate.service.admission import RETRY_S
from voxgate.service.entry import AUTH_UNAVAILABLE

__all__ = ["CLOSES", "REFUSALS", "Close", "Refused", "close_code_of", "wire_errors"]


class Refused(NamedTuple):
    """An answer of plain HTTP in place of the upgrade."""

    status: int
    code: str
    """That of the JSON body, and the label `reason` of ``voxgate_rejected_total``."""
    why: str
    retry: str = ""
    """``Retry-After``; empty: there is none."""
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


_SOON: Final = f"{RETRY_S[0]} to {RETRY_S[1]} s"

REFUSALS: Final = (
    Refused(401, "unauthorized", "a bad token, or a missing one that is required before the upgrade",
            remedy="send a good token (`WWW-Authenticate: Bearer`)"),
    Refused(403, "origin", "a web page of an origin that is not allowed",
            remedy="`auth.origins` names the pages that may connect"),
    Refused(404, "not_found", "an unknown path",
            remedy="the routes are `/api/v1/segmented`, `/api/v1/simple` and `/api/v1/stateful`"),
    Refused(421, "host", "a `Host` that is not allowed",
            remedy="`server.allowed_hosts` names the allowed ones"),
    Refused(429, "streams_per_address", "this address has as many streams as allowed", _SOON,
            "close one, or retry; behind a proxy see `server.trusted_proxies`"),
    Refused(429, "streams_per_token", "this token has as many streams as allowed", _SOON, "close one, or retry"),
    Refused(429, "pending_streams", "this address has too many connections without a token yet", _SOON,
            "send the token in a header"),
    Refused(501, "not_served", "the model does not serve this route",
            remedy="`GET /api/v1/info` lists the routes"),
    Refused(503, "not_ready", "the model is not warm, or makes no progress", _SOON, "retry"),
    Refused(503, "draining", "the server shuts down", _SOON, "use another server"),
    Refused(503, "streams", "the server is full", _SOON, "retry, or use another server"),
    Refused(503, "queue_wait", "calls wait too long for the model, or as many streams are open as it keeps up with",
            _SOON, "retry, or use another server"),
    Refused(503, "buffered_audio", "too much audio of all streams waits for the model", _SOON,
            "retry, or use another server"),
    Refused(503, "pending_streams", "too many connections have not sent a token yet", _SOON,
            "send the token in a header"),
    Refused(503, "auth_unavailable", "tokens cannot be checked at the moment", f"{AUTH_UNAVAILABLE.retry_after_s} s",
            "retry"),
    Refused(503, "redis", "streams cannot be counted at the moment", "5 s", "retry"),
)  # fmt: skip

CLOSES: Final = (
    Close(1000, "`stop` with `disconnect`", False, "for the next stream"),
    Close(1001, "the server shuts down", False, "at once, to another server"),
    Close(1002, "a frame that breaks the rules of websockets", False, "after a fix of the client"),
    Close(1007, "a text message that is no UTF-8", False, "after a fix of the client"),
    Close(1008, "a timeout, too many invalid messages, a bad token in `start`, or a connection that is too old", True,
          "after a fix, see the error"),
    Close(1009, "a message that is too large, or in too many pieces", False, "with smaller messages"),
    Close(1011, "a bug of the server, whose log has the stack; or the token of a `start` could not be checked", True,
          "with a pause"),
    Close(1013, "too many streams need a decoder process (`media.streams`), or have the token of a `start`"
          " (`limits.streams_per_token`); other overload refuses new streams and closes none", True, "with a pause"),
)  # fmt: skip


def close_code_of(kind: type[VoxgateError]) -> int | None:
    """The close code of the native wire that follows an error; None: the connection stays."""
    return CLOSE_CODES[CloseReason(kind.code)] if kind.is_fatal else None


def wire_errors() -> list[type[VoxgateError]]:
    """The errors that may reach a client, in the order of their definition."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VoxgateError)]
    groups = (VoxgateError, errors.MediaError)
    return [kind for kind in kinds if kind not in groups and not issubclass(kind, errors.ConfigError)]
