"""Machines that fail and come back, and deploys: what each does, and the plans that say when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from . import calls, pool, returns, stream
from .cell import CLOSING, DEAD, DOWN, DRAINING, FINAL, LIVE, QUEUED, RUNNING, UP, Cell
from .compiled import jit
from .lanes import free_job, unqueue

EDGE_UP, EDGE_DRAIN, EDGE_END, EDGE_DOWN, EDGE_DEAD, REPLICA_UP, REPLICA_DRAIN, REPLICA_DEAD, REPLICA_LOST = range(9)
"""EDGE_DRAIN: no new streams; EDGE_END: it closes those that are left with 1001; EDGE_DOWN: its process ends;
EDGE_DEAD: its machine is gone. REPLICA_DEAD: its machine is gone; REPLICA_LOST: Ray has noticed.
"""
LAST_S = 2.0
"""Before the end of a drain, the server ends the streams that are left."""


class Planned(NamedTuple):
    at_s: float
    action: int
    who: int


# --- what happens ---


@jit
def act(w, action, who):
    if action == EDGE_UP:
        edge_up(w, who)
    elif action == EDGE_DRAIN:
        if w.edges[who].state == UP:
            w.edges[who].state = DRAINING
            w.now[0].n_edges -= 1
    elif action == EDGE_END:
        end_streams(w, who)
    elif action == EDGE_DOWN:
        edge_down(w, who, 0.0)
    elif action == EDGE_DEAD:
        edge_down(w, who, w.rules[0].notice_s)
    elif action == REPLICA_UP:
        replica_up(w, who)
    elif action == REPLICA_DRAIN:
        replica_drains(w, who)
    elif action == REPLICA_DEAD:
        replica_dies(w, who)
    elif action == REPLICA_LOST:
        replica_is_lost(w, who)


@jit
def edge_up(w, e):
    edge = w.edges[e]
    if edge.state == UP:
        return
    edge.state, edge.max_served, edge.n_recent = UP, 1e18, 0
    edge.looked_s = edge.cut_s = edge.measured_s = -1e18
    edge.behind_s, edge.behind_at_s = 0.0, w.now[0].at_s
    w.now[0].n_edges += 1


@jit
def end_streams(w, e):
    """The end of a drain: open utterances get their finals, and the clients go elsewhere."""
    now = w.now[0]
    for s in range(len(w.streams)):
        one = w.streams[s]
        if one.edge != e or (one.state != LIVE and one.state != CLOSING):
            continue
        if one.state == CLOSING:
            continue  # It waits for its last answers, and gets them.
        if one.open_s < now.at_s:
            w.counts[0].cut += int(one.phase == stream.SPEAKS)
            end_utterance_now(w, s)
        stream.lose_edge(w, s, 0.0)


@jit
def end_utterance_now(w, s):
    """What goes on afterwards is a new utterance."""
    now, one = w.now[0], w.streams[s]
    if one.phase == stream.SPEAKS:
        calls.end_utterance(w, s, now.at_s)
        one.open_s = now.at_s
    else:
        calls.end_utterance(w, s, one.spurt_end_s)
        one.stamp += 1  # The pause is over for the model: its events mean nothing any more.
        stream.begin(w, s, max(now.at_s, one.resume_s))


@jit
def edge_down(w, e, notice_s):
    """The process is gone, with its queue. Clients send again what had no answer."""
    edge = w.edges[e]
    if edge.state == UP:
        w.now[0].n_edges -= 1
    edge.state = DOWN
    edge.stamp += 1
    edge.window_at_s, edge.n_calls = -1.0, 0
    for c in range(len(w.calls)):
        if w.calls[c].edge == e:
            w.calls[c].edge, w.calls[c].first = -1, -1  # It still runs, for nobody.
    for s in range(len(w.streams)):
        one = w.streams[s]
        if one.edge == e and (one.state == LIVE or one.state == CLOSING):
            one.n_running = 0
            stream.lose_edge(w, s, notice_s)
    for j in range(len(w.jobs)):
        job = w.jobs[j]
        if job.edge != e or (job.state != QUEUED and job.state != RUNNING):
            continue
        if job.state == QUEUED:
            unqueue(w, j)
        if job.lane == FINAL:
            calls.owe(w, j)
        else:
            free_job(w, j)


@jit
def replica_up(w, r):
    replica, now = w.replicas[r], w.now[0]
    if replica.state == UP:
        return
    replica.state, replica.free_s = UP, now.at_s
    now.n_replicas += 1
    pool.route_waiting(w)
    for e in range(len(w.edges)):
        pool.wake(w, e)


@jit
def replica_drains(w, r):
    """It takes no more calls, and ends with its last one."""
    replica = w.replicas[r]
    if replica.state == UP:
        w.now[0].n_replicas -= 1
        replica.state = DRAINING if replica.n_ongoing else DOWN


@jit
def replica_dies(w, r):
    """Its calls do not return, and it still gets new ones until Ray notices."""
    replica = w.replicas[r]
    if replica.state == UP:
        w.now[0].n_replicas -= 1
    if replica.state == UP or replica.state == DRAINING:
        replica.state = DEAD
        for c in range(len(w.calls)):
            if w.calls[c].replica == r:
                w.calls[c].stamp += 1


@jit
def replica_is_lost(w, r):
    if w.replicas[r].state != DEAD:
        return
    w.replicas[r].state = DOWN
    for c in range(len(w.calls)):
        if w.calls[c].replica == r:
            returns.lost(w, c)
    for e in range(len(w.edges)):
        pool.wake(w, e)


# --- plans ---


def edge_fails(at_s: float, who: int, start_s: float) -> list[Planned]:
    """Another one starts in its place, which takes `start_s`."""
    return [Planned(at_s, EDGE_DEAD, who), Planned(at_s + start_s, EDGE_UP, who)]


def replica_fails(at_s: float, who: int, notice_s: float, start_s: float) -> list[Planned]:
    """It dies; Ray notices after `notice_s` and starts another one in its place, which takes `start_s`."""
    lost_s = at_s + notice_s
    return [
        Planned(at_s, REPLICA_DEAD, who),
        Planned(lost_s, REPLICA_LOST, who),
        Planned(lost_s + start_s, REPLICA_UP, who),
    ]


def zone_fails(cell: Cell, at_s: float, zone: int, until_s: float) -> list[Planned]:
    """All machines of a zone, until it is back."""
    plan = []
    for e in range(zone, cell.n_edges, cell.n_zones):
        plan += [Planned(at_s, EDGE_DEAD, e), Planned(until_s + cell.edge_start_s, EDGE_UP, e)]
    for r in range(zone, cell.n_replicas, cell.n_zones):
        plan += [
            Planned(at_s, REPLICA_DEAD, r),
            Planned(at_s + cell.notice_s, REPLICA_LOST, r),
            Planned(until_s + cell.replica_start_s, REPLICA_UP, r),
        ]
    return plan


def edges_deploy(cell: Cell, at_s: float) -> list[Planned]:
    """Each edge is replaced: a new one starts, then the old one drains (maxSurge 1, maxUnavailable 0). The new ones
    have the places behind the old ones: `cell.max_edges` must have room.
    """
    plan = []
    for i in range(cell.n_edges):
        up_s = at_s + (i + 1) * cell.edge_start_s
        plan += [
            Planned(up_s, EDGE_UP, cell.n_edges + i),
            Planned(up_s, EDGE_DRAIN, i),
            Planned(up_s + cell.drain_s - LAST_S, EDGE_END, i),
            Planned(up_s + cell.drain_s, EDGE_DOWN, i),
        ]
    return plan


def replicas_deploy(cell: Cell, at_s: float, share: float = 0.2) -> list[Planned]:
    """Ray Serve replaces a fifth of the replicas at a time: they drain, and others start in their places."""
    plan, step = [], max(1, int(cell.n_replicas * share))
    for i in range(0, cell.n_replicas, step):
        begin_s = at_s + (i // step) * (cell.replica_start_s + cell.model.of(cell.max_items, 60.0))
        for r in range(i, min(i + step, cell.n_replicas)):
            plan += [
                Planned(begin_s, REPLICA_DRAIN, r),
                Planned(begin_s + cell.replica_start_s + cell.model.of(cell.max_items, 60.0), REPLICA_UP, r),
            ]
    return plan


def in_order(plan: Iterable[Planned]) -> list[Planned]:
    return sorted(plan, key=lambda planned: planned.at_s)
