"""The limits that hold a session back, and the lower bounds from which it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from voxgate.config import LimitsSettings
from voxgate.session.backlog import Backlog

LIMITS = LimitsSettings(buffered_audio_s=10.0)


@dataclass
class Parts:
    """A runner, a send queue and an allowance, as far as a backlog looks at them."""

    pending: int = 0
    backlog_s: float = 0.0
    is_full: bool = False
    has_room: bool = True
    is_too_large: bool = False
    is_small_again: bool = True
    held_s: float | None = None
    closed: bool = False

    def hold(self, seconds: float) -> None:
        self.held_s = seconds

    def close(self) -> None:
        self.closed = True


def make(**values: Any) -> tuple[Backlog, Parts]:
    parts: Any = Parts(**values)
    return Backlog(parts, parts, parts, LIMITS, max_pending=8), parts


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"backlog_s": 10.0}, "buffered_audio_s"),
        ({"pending": 1, "is_too_large": True}, "total_buffered_audio_s"),
        ({"pending": 8}, "stream_jobs"),
        ({"is_full": True}, "unsent_events"),
    ],
)
def test_what_holds_it_back(values: dict[str, Any], limit: str) -> None:
    backlog, _ = make(**values)
    assert backlog.is_behind
    assert backlog.limit == limit


@pytest.mark.parametrize("values", [{}, {"backlog_s": 9.9, "pending": 7}, {"is_too_large": True}])
def test_what_does_not(values: dict[str, Any]) -> None:
    """An allowance that is too large holds nothing back that has no result to come, which alone would lower it."""
    backlog, _ = make(**values)
    assert not backlog.is_behind


@pytest.mark.parametrize(
    ("values", "has_caught_up"),
    [
        ({}, True),
        ({"backlog_s": 4.9, "pending": 4}, True),
        ({"backlog_s": 5.0}, False),
        ({"pending": 5}, False),
        ({"has_room": False}, False),
        ({"pending": 1, "is_small_again": False}, False),
        ({"pending": 0, "is_small_again": False}, True),
    ],
)
def test_from_when_on_it_goes_on(values: dict[str, Any], has_caught_up: bool) -> None:
    backlog, _ = make(**values)
    assert backlog.has_caught_up is has_caught_up


def test_the_budget_of_the_server_is_told() -> None:
    backlog, parts = make(backlog_s=3.0)
    backlog.update()
    assert parts.held_s == 3.0
    parts.backlog_s = 4.0
    assert not backlog.is_behind
    assert parts.held_s == 4.0
    backlog.close()
    assert parts.closed
