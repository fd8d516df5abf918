"""Calls: which jobs make a batch, which replica runs it, and when it is back.

A replica computes one call at a time, and has room for the next ones (`calls`), so that it need not wait for them. When
no replica has room, a batch that was made waits in the router, where nothing can overtake it.
"""

from __future__ import annotations

from . import heap
from .answers import ERROR, settle
from .cell import DEAD, DRAINING, FINAL, RUNNING, UP
from .compiled import jit
from .edge import note_taken
from .lanes import unqueue


@jit
def most_calls(w):
    """Calls that an edge may have under way."""
    rules, now = w.rules[0], w.now[0]
    n = rules.calls * now.n_replicas
    if rules.shares and now.n_edges > 1:
        n = (n + now.n_edges - 1) // now.n_edges
    return min(n, rules.max_calls)


@jit
def wake(w, e):
    """Makes batches, as many as the edge may have under way."""
    rules, now, edge = w.rules[0], w.now[0], w.edges[e]
    while edge.n_waiting > 0 and edge.n_calls < most_calls(w):
        if rules.window_s > 0 and edge.n_waiting < rules.max_items:
            if edge.window_at_s < 0:
                edge.window_at_s = now.at_s + rules.window_s
                heap.push(w, edge.window_at_s, heap.WINDOW, e, edge.stamp)
            if now.at_s < edge.window_at_s:
                return
        edge.window_at_s = -1.0
        c = take(w, e)
        if c >= 0:
            edge.n_calls += 1
            route(w, c)


@jit
def take(w, e):
    """A call with the next jobs of the edge; -1: the only ones had passed their deadline."""
    rules, now = w.rules[0], w.now[0]
    c = now.free_call
    if c < 0:
        raise MemoryError("more calls than there is room for")
    call = w.calls[c]
    now.free_call = call.next
    call.edge, call.replica, call.first, call.n, call.audio_s, call.next = e, -1, -1, 0, 0.0, -1
    longest_s, last = 0.0, -1
    for number in range(3):
        lane = w.lanes[3 * e + number]
        while lane.n > 0 and call.n < rules.max_items:
            j = lane.head
            job = w.jobs[j]
            longest_s = max(longest_s, job.audio_s)
            if call.n > 0 and (call.n + 1) * longest_s > rules.max_batch_s:
                break
            unqueue(w, j)
            if number == FINAL and now.at_s - job.submitted_s > rules.deadline_s:
                settle(w, j, ERROR)
                continue
            start_job(w, e, j)
            if last < 0:
                call.first = j
            else:
                w.jobs[last].next = j
            last = j
            call.n += 1
            call.audio_s += job.audio_s
        if lane.n > 0:
            break  # What comes after it does not overtake it.
    if call.n == 0:
        free_call(w, c)
        return -1
    return c


@jit
def start_job(w, e, j):
    job = w.jobs[j]
    stream = w.streams[job.stream]
    job.state, job.taken_s = RUNNING, w.now[0].at_s
    job.attempts += 1
    if job.lane == FINAL and stream.n_running == 0:
        note_taken(w, e, job.taken_s - max(job.submitted_s, stream.free_s))
    stream.n_running += 1


@jit
def free_call(w, c):
    call, now = w.calls[c], w.now[0]
    call.stamp += 1
    call.edge = call.replica = call.first = -1
    call.n = 0
    call.next, now.free_call = now.free_call, c


@jit
def route(w, c):
    """To the replica with the fewest calls; without room anywhere, the call waits in the router."""
    rules, now = w.rules[0], w.now[0]
    found = -1
    for r in range(len(w.replicas)):
        replica = w.replicas[r]
        if (replica.state == UP or replica.state == DEAD) and replica.n_ongoing < rules.calls:
            if found < 0:
                found = r
            else:
                best = w.replicas[found]
                if replica.n_ongoing < best.n_ongoing or (
                    replica.n_ongoing == best.n_ongoing and replica.free_s < best.free_s
                ):
                    found = r
    if found >= 0:
        run(w, c, found)
        return
    call = w.calls[c]
    call.next = -1
    if now.n_routed:
        w.calls[now.route_tail].next = c
    else:
        now.route_head = c
    now.route_tail = c
    now.n_routed += 1


@jit
def run(w, c, r):
    rules, now, call, replica = w.rules[0], w.now[0], w.calls[c], w.replicas[r]
    call.replica = r
    replica.n_ongoing += 1
    now.n_busy += 1
    if replica.state == DEAD:
        return  # It never answers.
    way_s = rules.hop_s / 2 + rules.hop_second_s * call.audio_s
    took_s = rules.model_fixed_s + rules.model_item_s * call.n + rules.model_second_s * call.audio_s
    replica.free_s = max(replica.free_s, now.at_s + way_s) + took_s
    if now.begin_s <= now.at_s < now.end_s:
        w.counts[0].calls += 1
        w.counts[0].items += call.n
        now.busy_s += took_s
    heap.push(w, replica.free_s + rules.hop_s / 2, heap.RETURN, c, call.stamp)


@jit
def route_waiting(w):
    """A replica has room: the calls that wait in the router go first."""
    now, rules = w.now[0], w.rules[0]
    while now.n_routed and has_room(w, rules.calls):
        c = now.route_head
        now.route_head = w.calls[c].next
        now.n_routed -= 1
        w.calls[c].next = -1
        if w.calls[c].edge < 0:
            free_call(w, c)  # Its edge is gone.
        else:
            route(w, c)


@jit
def has_room(w, calls):
    for r in range(len(w.replicas)):
        replica = w.replicas[r]
        if (replica.state == UP or replica.state == DEAD) and replica.n_ongoing < calls:
            return True
    return False


@jit
def release(w, c):
    """The replica of call `c` has room again, and so has its edge. A replica that drains ends with its last call."""
    now, call = w.now[0], w.calls[c]
    if call.replica >= 0:
        replica = w.replicas[call.replica]
        replica.n_ongoing -= 1
        now.n_busy -= 1
        if replica.state == DRAINING and replica.n_ongoing == 0:
            replica.state = 0
    if call.edge >= 0:
        w.edges[call.edge].n_calls -= 1
    free_call(w, c)
