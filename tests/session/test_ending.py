from __future__ import annotations

from types import SimpleNamespace

import pytest

from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.session.ending import end_of
from voxgate.session.endpoint import Departure


@pytest.mark.parametrize(
    ("close", "departure", "is_gone", "is_done", "expected", "limits"),
    [
        (Close(CloseReason.COMPLETED), Departure(LEFT, 1005), True, True, ("completed", "completed", 1000), {}),
        (Close(CloseReason.DRAINING), Departure(LOST, 1006), False, False, ("drained", "draining", 1000), {}),
        (None, Departure(LOST, 1006), False, True, ("failed", "internal", 1006), {}),
        (None, Departure(LEFT, 1000), True, True, ("completed", "left", 1000), {}),
        (None, Departure(LOST, 1006), True, False, ("left", "lost", 1006), {}),
        (
            *(None, Departure(CloseReason.TOO_LARGE, 1009, "message_bytes"), True, True),
            *(("invalid", "too_large", 1009), {"message_bytes": 1}),
        ),
    ],
)
def test_outcome_reason_and_code(close, departure, is_gone, is_done, expected, limits):
    tally = Tally()
    endpoint = SimpleNamespace(departure=departure, code_of=lambda close: 1000)
    assert end_of(endpoint, close, is_gone, is_done, tally) == expected
    assert {label: n for label, n in tally.limit_hits.items() if n} == limits
