"""The events that are due: a binary heap, the earliest first; of two at the same time, the one pushed first."""

from __future__ import annotations

from .compiled import jit

ARRIVE, CONNECT, TALK, RETURN, WINDOW, PLAN, SAMPLE, EDGES, REPLICAS = range(9)
"""What happens: a client comes; it connects (again); a stream goes on; a call returns; a batch waits no longer; a
failure or a deploy; a look at the numbers; the autoscalers of edges and of replicas.
"""

EVENT = {"at_s": 0.0, "order": 0, "kind": 0, "who": 0, "stamp": 0}


@jit
def before(events, i, j):
    one, other = events[i], events[j]
    return one.at_s < other.at_s or (one.at_s == other.at_s and one.order < other.order)


@jit
def swap(events, i, j):
    one, other = events[i], events[j]
    at_s, order, kind, who, stamp = one.at_s, one.order, one.kind, one.who, one.stamp
    one.at_s, one.order, one.kind, one.who, one.stamp = other.at_s, other.order, other.kind, other.who, other.stamp
    other.at_s, other.order, other.kind, other.who, other.stamp = at_s, order, kind, who, stamp


@jit
def push(w, at_s, kind, who, stamp):
    """`stamp`: an event whose stamp is not that of its subject any more has no effect."""
    now = w.now[0]
    events, i = w.events, now.n_events
    if i >= len(events):
        raise MemoryError("more events than the heap has room for")
    now.n_events += 1
    now.n_pushed += 1
    event = events[i]
    event.at_s, event.order, event.kind, event.who, event.stamp = at_s, now.n_pushed, kind, who, stamp
    while i > 0 and before(events, i, (i - 1) // 2):
        swap(events, i, (i - 1) // 2)
        i = (i - 1) // 2


@jit
def pop(w):
    """The kind, the subject and the stamp of the next event; the clock goes to its time."""
    now, events = w.now[0], w.events
    first = events[0]
    at_s, kind, who, stamp = first.at_s, first.kind, first.who, first.stamp
    now.n_events -= 1
    n, i = now.n_events, 0
    if n:
        swap(events, 0, n)
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and before(events, child + 1, child):
            child += 1
        if not before(events, child, i):
            break
        swap(events, i, child)
        i = child
    now.at_s = at_s
    return kind, who, stamp
