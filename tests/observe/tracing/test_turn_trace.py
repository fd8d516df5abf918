"""The span of one question to the turn detector."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from voxgate.observe.tracing.turn_trace import TurnTrace


@pytest.mark.parametrize(
    ("outcome", "probability", "attributes"),
    [
        ("finished", 0.9, {"voxgate.outcome": "finished", "voxgate.turn.probability": 0.9}),
        ("late", None, {"voxgate.outcome": "late"}),
    ],
)
def test_an_answer_ends_the_span_with_what_it_was(
    outcome: str, probability: float | None, attributes: dict[str, Any]
) -> None:
    session, span = Mock(), Mock()
    TurnTrace(session, span).answered(outcome, probability)
    assert dict(call.args for call in span.set_attribute.call_args_list) == attributes
    session.end_span.assert_called_once_with(span)
