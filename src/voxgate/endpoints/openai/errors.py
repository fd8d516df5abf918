"""Errors in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from voxgate.errors import InferenceError, InternalError, Overloaded, StreamTimeout
from voxgate.service.admission import Refusal, RefusalKind

__all__ = ["STATUSES", "ApiError", "body_of", "error_of", "status_of", "type_of"]

INVALID_REQUEST: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"

#: Their clients come back after a 5xx, and take any other for permanent.
STATUSES: Final[Mapping[RefusalKind, int]] = {
    RefusalKind.UNAUTHENTICATED: 401,
    RefusalKind.FORBIDDEN: 403,
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.MISDIRECTED: 421,
    RefusalKind.TOO_MANY: 503,
    RefusalKind.NOT_SERVED: 400,
    RefusalKind.UNAVAILABLE: 503,
}

# What went wrong with a stream that was accepted, by the code of its error event.
_STATUS_OF: Final[Mapping[str, int]] = {
    StreamTimeout.code: 408,
    Overloaded.code: 503,
    InferenceError.code: 500,
    InternalError.code: 500,
    "draining": 503,
    "too_large": 413,
}


class ApiError(Exception):
    """A request that cannot be served. `param`: the field that is wrong; None: no field is."""

    def __init__(self, text: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(text)
        self.param = param
        self.code = code
        self.status = status


def status_of(code: str) -> int:
    """The HTTP status for the code of an error event."""
    return _STATUS_OF.get(code, 400)


def type_of(status: int) -> str:
    """OpenAI's type of an error, by its status."""
    return SERVER_ERROR if status >= 500 else INVALID_REQUEST


def body_of(text: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON body of an error."""
    return {"error": {"message": text, "type": type_of(status), "param": param, "code": code}}


def error_of(refusal: Refusal) -> tuple[int, dict[str, Any]]:
    """Status and body for a client that is not accepted."""
    status = STATUSES.get(refusal.kind, 400)
    code = "invalid_api_key" if refusal.kind is RefusalKind.UNAUTHENTICATED else refusal.reason
    return status, body_of(refusal.text, status, code=code)
