"""What calls do to a thread beside them, and to each other."""

from __future__ import annotations

import time

import pytest

from voxgate.cli.concurrency import measure_gil, measure_two_at_once, spin_beside


def test_a_failure_on_the_other_thread_is_raised() -> None:
    def fail() -> None:
        raise KeyError("here")

    for measure in (
        lambda: spin_beside(fail),
        lambda: measure_gil([fail], 0.0),
        lambda: measure_two_at_once([fail], 0),
    ):
        with pytest.raises(KeyError, match="here"):
            measure()


def test_every_call_is_made() -> None:
    calls: list[int] = []
    gil = measure_gil([lambda n=n: calls.append(n) or time.sleep(0.001) for n in range(3)], 0.0)  # type: ignore[misc]
    assert set(calls) == {0, 1, 2}
    assert 0 < gil.share <= 1
    assert gil.longest_pause_s > 0
    calls.clear()
    gains = measure_two_at_once([lambda n=n: calls.append(n) or time.sleep(0.001) for n in range(2)], 0.0)  # type: ignore[misc]
    assert set(calls) == {0, 1}
    assert all(gain > 0 for gain in gains)
