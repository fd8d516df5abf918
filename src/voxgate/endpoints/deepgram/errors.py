"""Errors in Deepgram's form, before an upgrade and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from voxgate.endpoints.refusals import FOREIGN_STATUSES, HttpAnswer, answer_of
from voxgate.errors import InferenceError, InternalError, Overloaded, StreamTimeout
from voxgate.service.admission import Refusal, RefusalKind

__all__ = ["failure_answer", "refusal_answer"]

BAD_REQUEST: Final = "Bad Request"
UNAVAILABLE: Final = "SERVICE_UNAVAILABLE"

_CODES: Final[Mapping[RefusalKind, str]] = {
    RefusalKind.INVALID: BAD_REQUEST,
    RefusalKind.UNAUTHENTICATED: "INVALID_AUTH",
    RefusalKind.FORBIDDEN: "INSUFFICIENT_PERMISSIONS",
    RefusalKind.NOT_SERVED: BAD_REQUEST,
    RefusalKind.TOO_MANY: "TOO_MANY_REQUESTS",
    RefusalKind.UNAVAILABLE: UNAVAILABLE,
}

# What went wrong with a recording that was accepted, by the code of its error event, or the reason of its end.
_STATUSES: Final[Mapping[str, tuple[int, str]]] = {
    StreamTimeout.code: (408, "REQUEST_TIMEOUT"),
    Overloaded.code: (503, UNAVAILABLE),
    InferenceError.code: (500, "INTERNAL_SERVER_ERROR"),
    InternalError.code: (500, "INTERNAL_SERVER_ERROR"),
    "draining": (503, UNAVAILABLE),
    "too_large": (413, "PAYLOAD_TOO_LARGE"),
}
RETRY_S: Final = 5


def refusal_answer(refusal: Refusal, request_id: str) -> HttpAnswer:
    """The answer to a client that is not accepted."""
    body = {"err_code": _CODES[refusal.kind], "err_msg": refusal.text, "request_id": request_id}
    answer = answer_of(refusal, FOREIGN_STATUSES, body, "Token")
    return answer._replace(headers={**answer.headers, **_headers(refusal.text, request_id)})


def failure_answer(code: str, text: str, request_id: str) -> HttpAnswer:
    """The answer to a request that was accepted and failed. `code`: of an error event."""
    status, name = _STATUSES.get(code, (400, BAD_REQUEST))
    headers = _headers(text, request_id)
    if status == 503:
        headers["retry-after"] = str(RETRY_S)
    return HttpAnswer(status, {"err_code": name, "err_msg": text, "request_id": request_id}, headers)


def _headers(text: str, request_id: str) -> dict[str, str]:
    printable = "".join(character if " " <= character <= "~" else "?" for character in text)
    return {"dg-request-id": request_id, "dg-error": printable}
