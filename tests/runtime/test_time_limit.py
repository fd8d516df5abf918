from __future__ import annotations

import pytest

from voxgate.runtime import time_limit
from voxgate.runtime.time_limit import TimeLimit


def test_what_is_left_shrinks_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now_s)
    limit = TimeLimit(2.0)
    assert limit.left_s == 2.0
    now_s = 101.5
    assert limit.left_s == 0.5
    now_s = 200.0
    assert limit.left_s == 0.0


def test_none_is_no_limit() -> None:
    assert TimeLimit(None).left_s is None
