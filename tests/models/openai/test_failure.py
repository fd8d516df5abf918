"""What a refusal of a transcription server means: for the client, for the operator, and for another try."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from voxgate.models.openai.failure import Failure, failure_of, retry_after_s

KEY = "sk-secret-123456"


def refusal(status: int, message: str = "", headers: dict[str, str] | None = None, key: str | None = KEY) -> Failure:
    return failure_of(status, headers or {}, b'{"error": {"message": "%s"}}' % message.encode(), key, "MY_KEY")


@pytest.mark.parametrize(
    ("status", "again"), [(400, False), (401, False), (404, False), (418, False), (429, True), (500, True), (599, True)]
)
def test_another_try_is_for_what_may_pass(status: int, again: bool) -> None:
    assert refusal(status).again is again
    assert refusal(status).status == status


def test_no_credit_does_not_pass() -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    assert not failure_of(429, {}, body, None, "MY_KEY").again


def test_what_is_about_the_call_reaches_the_client() -> None:
    failure = refusal(400, "Audio file is too short")
    assert str(failure) == "The model server answered 400: Audio file is too short"
    assert str(refusal(500, "CUDA error at 10.0.0.3")) == "The model server answered 500"
    assert refusal(500, "CUDA error").detail == "answered 500: CUDA error"


def test_keys_in_words() -> None:
    assert refusal(401).detail == "refuses the key of MY_KEY (401)"
    assert refusal(401, key=None).detail == "expects a key, and MY_KEY is not set (401)"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
@pytest.mark.parametrize("before", ["", "x" * 190])
def test_no_text_has_the_key(status: int, before: str) -> None:
    """Not even a part of it, where a long message is cut."""
    failure = refusal(status, f"{before}Incorrect API key provided: {KEY}")
    assert "sk-" not in str(failure) + failure.detail
    assert len(failure.detail) < 300


def test_a_redirect_says_where_to() -> None:
    failure = refusal(307, headers={"location": "https://other.example/v1/audio/transcriptions?token=secret"})
    assert "redirects to https://other.example/v1/audio/transcriptions:" in failure.detail
    assert "secret" not in failure.detail
    assert not failure.again


def test_retry_after() -> None:
    assert [retry_after_s(value) for value in (None, "", "soon", "-3", "nan", "inf", "2", "0.5")] == [
        *(0, 0, 0, 0, 0, 0),
        *(2, 0.5),
    ]
    assert retry_after_s(formatdate(time.time() + 3600, usegmt=True)) > 50
    assert retry_after_s(formatdate(0, usegmt=True)) == 0
    assert refusal(429, headers={"retry-after": "7"}).wait_s == 7
