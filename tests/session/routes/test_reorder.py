from __future__ import annotations

from voxgate.protocol.events import Error, Event, Flushed, Segment
from voxgate.session.routes.reorder import PendingReply, ReorderBuffer


def segment(is_final: bool = True) -> Segment:
    return Segment(0.0, 1.0, is_final, {"text": "a"}, 0)


def test_only_what_the_wire_carries_counts_as_a_result():
    lost: list[Event] = []
    emitted: list[Event] = []
    counted: list[Event] = []

    def emit(event: Event) -> bool:
        emitted.append(event)
        return any(event is other for other in lost)

    def on_emitted(event: Event, reply: PendingReply) -> None:
        counted.append(event)

    buffer = ReorderBuffer(emit, on_emitted)
    events = [segment(), segment(), Error("x", "internal"), Flushed(), segment(False), segment(False), None]
    lost += [events[1], events[5]]  # type: ignore[list-item]
    replies = [buffer.reserve() for _ in events]
    for reply, event in reversed(list(zip(replies, events, strict=True))):
        assert (buffer.n_results, buffer.n_errors) == (0, 0)  # what is not first in the order is not emitted
        buffer.settle(reply, event)
    assert emitted == events[:-1]
    assert (buffer.n_results, buffer.n_errors) == (2, 2)
    assert counted == [events[0], events[2], events[3], events[4]]


def test_an_emit_that_says_nothing_has_lost_nothing():
    emitted: list[Event] = []
    buffer = ReorderBuffer(emitted.append)
    buffer.settle(buffer.reserve(), segment())
    assert (buffer.n_results, buffer.n_errors) == (1, 0)
