"""The last events are kept within a bound of bytes."""

from __future__ import annotations

from voxgate.client.recent import RecentEvents
from voxgate.protocol.events import Active

EVENTS = [Active(float(second), 0) for second in range(5)]


def test_the_oldest_events_are_dropped() -> None:
    recent = RecentEvents(max_bytes=100)
    for event in EVENTS:
        recent.add(event, 40)
    assert recent.all() == tuple(EVENTS[-2:])


def test_the_last_event_is_always_kept() -> None:
    recent = RecentEvents(max_bytes=100)
    recent.add(EVENTS[0], 40)
    recent.add(EVENTS[1], 1000)
    assert recent.all() == (EVENTS[1],)
