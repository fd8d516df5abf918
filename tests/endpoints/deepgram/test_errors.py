"""Errors in Deepgram's form."""

from __future__ import annotations

import pytest

from voxgate.endpoints.deepgram.errors import failure_answer, refusal_answer
from voxgate.service.admission import Refusal, RefusalKind


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (RefusalKind.INVALID, 400, "Bad Request"),
        (RefusalKind.UNAUTHENTICATED, 401, "INVALID_AUTH"),
        (RefusalKind.FORBIDDEN, 403, "INSUFFICIENT_PERMISSIONS"),
        (RefusalKind.NOT_SERVED, 400, "Bad Request"),
        (RefusalKind.TOO_MANY, 503, "TOO_MANY_REQUESTS"),
        (RefusalKind.UNAVAILABLE, 503, "SERVICE_UNAVAILABLE"),
    ],
)
def test_refusals(kind, status, code):
    answer = refusal_answer(Refusal(kind, "why", "in words", 5), "id")
    assert answer.status == status
    assert answer.body == {"err_code": code, "err_msg": "in words", "request_id": "id"}
    assert (answer.headers["dg-request-id"], answer.headers["dg-error"], answer.headers["retry-after"]) == (
        *("id", "in words"),
        "5",
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [("timeout", 408), ("overloaded", 503), ("inference_failed", 500), ("invalid_media", 400), ("too_large", 413)],
)
def test_failures(code, status):
    answer = failure_answer(code, "in words", "id")
    assert (answer.status, "retry-after" in answer.headers) == (status, status == 503)


def test_a_text_is_no_header_of_its_own():
    answer = refusal_answer(Refusal(RefusalKind.INVALID, "why", "a\r\nset-cookie: x\u2028ü"), "id")
    assert answer.headers["dg-error"] == "a??set-cookie: x??"
