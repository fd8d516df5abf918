"""An edge: which streams it admits, and what its own work adds to an answer.

Admission is that of the server (decision 0014, `Admission` and `QueueDelay`), line by line. The loop of an edge is not
simulated message by message: a share of a core for each stream, and an added latency that depends on the share in use.
"""

from __future__ import annotations

from math import exp, log

from .cell import AWAY, GONE, LIVE, N_RECENT, UP
from .compiled import jit

RECENT_S, QUANTILE, CACHE_S = 2.0, 0.9, 0.02
NEAR, SETTLE_S, CUT, GROWTH = 0.5, 2.0, 0.93, 0.05
Z99 = 2.3263478740408408
FULL = 0.97
"""Latencies were measured up to about this share of a core; from 1 on, the edge falls behind."""


@jit
def note_taken(w, e, wait_s):
    edge = w.edges[e]
    recent = w.recents[e * N_RECENT + edge.n_recent % N_RECENT]
    recent.taken_s, recent.wait_s = w.now[0].at_s, wait_s
    edge.n_recent += 1


@jit
def queue_wait_s(w, e):
    """How long the model keeps a stream of this edge waiting: the 0.9-quantile of the waits of finals taken within two
    seconds, or the wait of the oldest that still waits.
    """
    edge, at_s = w.edges[e], w.now[0].at_s
    if at_s < edge.measured_s + CACHE_S:
        return edge.wait_s
    waits = []
    for i in range(min(edge.n_recent, N_RECENT)):
        recent = w.recents[e * N_RECENT + i]
        if recent.taken_s >= at_s - RECENT_S:
            waits.append(recent.wait_s)
    wait_s = 0.0
    if len(waits) > 0:
        waits.sort()
        wait_s = waits[int(QUANTILE * len(waits))]
    j = w.lanes[3 * e].head
    while j >= 0:
        job = w.jobs[j]
        stream = w.streams[job.stream]
        if stream.n_running == 0:
            wait_s = max(wait_s, at_s - max(job.submitted_s, stream.free_s))
            break
        j = job.next
    edge.measured_s, edge.wait_s = at_s, wait_s
    return wait_s


@jit
def admits(w, e):
    """Whether the edge accepts a stream now; it learns from each that comes."""
    rules, edge, at_s = w.rules[0], w.edges[e], w.now[0].at_s
    if edge.n_streams >= rules.max_streams:
        return False
    wait_s = queue_wait_s(w, e)
    if rules.learns:
        looked_s, edge.looked_s = edge.looked_s, at_s
        if wait_s >= rules.queue_wait_s * NEAR:
            if at_s >= edge.cut_s + SETTLE_S:
                if wait_s >= edge.cut_wait_s or at_s >= edge.cut_s + 2 * SETTLE_S:
                    edge.max_served = max(1.0, CUT * min(edge.max_served, edge.n_streams))
                edge.cut_s, edge.cut_wait_s = at_s, wait_s
        elif edge.n_streams >= CUT * edge.max_served:
            part = min(at_s - looked_s, SETTLE_S) / SETTLE_S
            edge.max_served += max(1.0, GROWTH * edge.max_served) * part
    return wait_s < rules.queue_wait_s and edge.n_streams < edge.max_served


@jit
def busy(w, e):
    rules = w.rules[0]
    return rules.edge_idle + rules.edge_stream_s * w.edges[e].n_streams


@jit
def account(w, e):
    """Before the number of streams changes: what the loop has fallen behind, or caught up, since the last change."""
    edge, at_s = w.edges[e], w.now[0].at_s
    edge.behind_s = max(0.0, edge.behind_s + (busy(w, e) - 1.0) * (at_s - edge.behind_at_s))
    edge.behind_at_s = at_s


@jit
def added_s(w, e):
    """What the loop of the edge adds to this answer: log-normal, with the measured p50 and p99 at its share in use."""
    rules, now = w.rules[0], w.now[0]
    account(w, e)
    share = min(FULL, busy(w, e))
    queue = share / (1.0 - share)
    p50_s = rules.edge_p50_base_s + rules.edge_p50_slope_s * queue
    if p50_s <= 0.0:
        return w.edges[e].behind_s
    p99_s = max(p50_s, rules.edge_p99_base_s + rules.edge_p99_slope_s * queue)
    now.noise += 1
    z = w.normal[now.noise % len(w.normal)]
    return w.edges[e].behind_s + p50_s * exp(z * log(p99_s / p50_s) / Z99)


@jit
def enter(w, s, e):
    stream = w.streams[s]
    account(w, e)
    w.edges[e].n_streams += 1
    stream.edge, stream.state = e, LIVE
    w.now[0].n_live += 1


@jit
def leave(w, s, state):
    """The stream has no edge from now on: it is GONE, or AWAY."""
    now, stream = w.now[0], w.streams[s]
    if stream.edge >= 0:
        account(w, stream.edge)
        w.edges[stream.edge].n_streams -= 1
        now.n_live -= 1
    if stream.state == AWAY:
        now.n_away -= 1
    if state == AWAY:
        now.n_away += 1
    if state == GONE:
        stream.stamp += 1
    stream.edge, stream.state = -1, state


@jit
def least_connections(w):
    """The edge that the balancer chooses; -1: none is up."""
    found = -1
    for e in range(len(w.edges)):
        if w.edges[e].state == UP and (found < 0 or w.edges[e].n_streams < w.edges[found].n_streams):
            found = e
    return found
