"""Outcomes that cross from a worker process to the server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine.processes.outcomes import decode_outcome, encode_outcome


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"a": np.float64(0.1), "b": np.zeros((1, 2), np.int8)}, {"a": 0.1, "b": [[0, 0]]}),
        ({}, {}),
        (None, None),
        ({"x": {1: "one"}, "d": Decimal("1.5")}, {"x": {1: "one"}, "d": "1.5"}),
    ],
)
def test_results_cross(result: Any, expected: Any) -> None:
    assert decode_outcome(encode_outcome(result)) == expected


@pytest.mark.parametrize("error", [InferenceError("no ü"), InternalError("Internal server error")])
def test_errors_cross_with_their_text(error: Any) -> None:
    crossed = decode_outcome(encode_outcome(error))
    assert type(crossed) is type(error)
    assert str(crossed) == str(error)


class Exits:
    def tolist(self) -> Any:
        raise SystemExit("no list")


def test_a_value_that_raises_whatever_it_likes_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(decode_outcome(encode_outcome({"x": Exits()})), InternalError)
    assert "cannot leave its worker process: no list" in caplog.text


@pytest.mark.parametrize(
    "result", [{"x": object()}, {"x": 1 << 70}, {"x": "\ud800"}, {"x": {(1, 2): 3}}, {"x": {(): 1}}]
)
def test_what_cannot_cross_is_an_internal_error_and_logged(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    outcome = decode_outcome(encode_outcome(result))
    assert isinstance(outcome, (InternalError, dict))
    if isinstance(outcome, InternalError):
        assert str(outcome) == "Internal server error"
        assert "cannot" in caplog.text
