from __future__ import annotations

from voxgate.runtime.counted import counted


def test_one_and_many():
    assert [counted(n, "call") for n in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]
    assert [counted(n, "worker process") for n in (1, 2)] == ["1 worker process", "2 worker processes"]
