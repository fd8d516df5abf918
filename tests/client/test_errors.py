"""The texts of the client's errors."""

from __future__ import annotations

from voxgate.client.errors import MissingResults, RefusedError, RejectedError


def test_a_refusal_carries_the_reason_of_a_json_body() -> None:
    error = RefusedError(503, '{"error": "full"}', "3")
    assert str(error) == "the server refused with HTTP 503: full (try again after 3 s)"
    assert (error.status, error.body, error.retry_after) == (503, '{"error": "full"}', "3")


def test_a_long_body_is_cut() -> None:
    error = RefusedError(500, "x" * 5000)
    assert (len(error.body), len(str(error))) == (1000, len("the server refused with HTTP 500: ") + 1000)


def test_a_rejection_carries_the_code_of_its_event() -> None:
    error = RejectedError("8 bit is not supported", "invalid_start")
    assert (str(error), error.error_code) == (
        "the server did not accept the session: 8 bit is not supported",
        "invalid_start",
    )


def test_the_first_five_problems_are_in_the_text() -> None:
    error = MissingResults([f"p{number}" for number in range(7)])
    assert str(error) == "not every result arrived: p0; p1; p2; p3; p4; and 2 more"
    assert len(error.problems) == 7
