"""Outcomes that cross from a worker process to the server."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine.processes.messages import Answer, Message
from voxgate.inference.engine.processes.outcomes import decode_outcome, encode_outcome
from voxgate.protocol.output import Output


def crossed(outcome: Any) -> Any:
    data = msgspec.msgpack.encode(Answer([encode_outcome(outcome)], False))
    answer = msgspec.msgpack.decode(data, type=Message)
    assert isinstance(answer, Answer)
    return decode_outcome(answer.outcomes[0])


@pytest.mark.parametrize(
    "result",
    [
        {"a": np.float64(0.1), "b": np.zeros((1, 2), np.int8), "nan": float("nan")},
        {"text": "ü", "words": [{"word": "ü", "start": 0, "end": 1}], "segment_id": 3},
        {},
    ],
)
def test_a_result_crosses_as_it_was_encoded(result: Any) -> None:
    output = Output.of(result)
    arrived = crossed(output)
    assert type(arrived) is Output
    assert (arrived.json, arrived.transcript, arrived.session_keys) == (
        output.json,
        output.transcript,
        output.session_keys,
    )


def test_nothing_to_say_crosses() -> None:
    assert crossed(None) is None


@pytest.mark.parametrize("error", [InferenceError("no ü"), InternalError("Internal server error")])
def test_errors_cross_with_their_text(error: Any) -> None:
    arrived = crossed(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
