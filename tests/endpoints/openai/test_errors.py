"""Errors in OpenAI's form."""

from __future__ import annotations

import pytest

from voxgate.endpoints.openai.errors import body_of, refusal_answer, status_of
from voxgate.service.admission import Refusal, RefusalKind


def test_a_body():
    assert body_of("wrong", 400, "file", "bad") == {
        "error": {"message": "wrong", "type": "invalid_request_error", "param": "file", "code": "bad"}
    }
    assert body_of("wrong", 503)["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (RefusalKind.UNAUTHENTICATED, 401, "invalid_api_key"),
        (RefusalKind.FORBIDDEN, 403, "reason"),
        (RefusalKind.TOO_MANY, 503, "reason"),
        (RefusalKind.NOT_SERVED, 400, "reason"),
        (RefusalKind.UNAVAILABLE, 503, "reason"),
    ],
)
def test_refusals(kind, status, code):
    answer = refusal_answer(Refusal(kind, "reason", "text", 5), "id")
    error = answer.body["error"]
    assert (answer.status, error["code"], error["message"]) == (status, code, "text")
    assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("5", "id")
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


def test_every_kind_has_a_status_that_clients_come_back_after_when_they_may():
    assert 429 not in [refusal_answer(Refusal(kind, "reason", "text"), "id").status for kind in RefusalKind]


@pytest.mark.parametrize(
    ("code", "status"),
    [("timeout", 408), ("overloaded", 503), ("internal", 500), ("inference_failed", 500), ("unsupported_media", 400)],
)
def test_errors_of_a_stream(code, status):
    assert status_of(code) == status
