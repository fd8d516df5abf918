"""The first error of a call becomes its status."""

from __future__ import annotations

import pytest

from voxgate.endpoints.riva.failure import Failure
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("inference_failed", CloseReason.INTERNAL),
        ("internal", CloseReason.INTERNAL),
        ("overloaded", CloseReason.OVERLOADED),
        ("invalid_media", CloseReason.INVALID),
        ("completed", CloseReason.INVALID),
    ],
)
def test_the_reason(code, reason):
    failure = Failure()
    completed, draining = Close(CloseReason.COMPLETED), Close(CloseReason.DRAINING)
    assert not failure
    assert failure.end_of(completed) is completed
    failure.add(Error("first", code))
    failure.add(Error("second", "timeout"))
    assert failure
    assert failure.end_of(completed) == Close(reason, "first")
    assert failure.end_of(draining) is draining
