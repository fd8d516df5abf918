"""Errors in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from voxgate.endpoints.refusals import FOREIGN_STATUSES, HttpAnswer, answer_of
from voxgate.errors import InferenceError, InternalError, Overloaded, StreamTimeout
from voxgate.service.admission import Refusal, RefusalKind

__all__ = ["ApiError", "body_of", "error_answer", "refusal_answer", "status_of", "type_of"]

INVALID_REQUEST: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"

RETRY_S: Final = 5

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
    """A request that cannot be served. `param`: the field that is wrong; None: no field is. `limit`: the setting below
    `limits` that it exceeds; None: none.
    """

    def __init__(
        self,
        text: str,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        limit: str | None = None,
    ) -> None:
        super().__init__(text)
        self.limit = limit
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


def error_answer(error: ApiError, request_id: str) -> HttpAnswer:
    """The answer to a request that was accepted and failed."""
    headers = {"x-request-id": request_id}
    if error.status == 503:
        headers["retry-after"] = str(RETRY_S)
    return HttpAnswer(error.status, body_of(str(error), error.status, error.param, error.code), headers)


def refusal_answer(refusal: Refusal, request_id: str) -> HttpAnswer:
    """The answer to a client that is not accepted."""
    code = "invalid_api_key" if refusal.kind is RefusalKind.UNAUTHENTICATED else refusal.reason
    answer = answer_of(refusal, FOREIGN_STATUSES, body_of(refusal.text, FOREIGN_STATUSES[refusal.kind], code=code))
    return answer._replace(headers={**answer.headers, "x-request-id": request_id})
