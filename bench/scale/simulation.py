"""The simulation of a cell: a loop over events, from the first client to the last answer.

    result = simulation.run(cell, sessions, talk, plan=failures.zone_fails(...), end_s=3600, begin_s=300)

The same arguments and seed give the same result. One core simulates an hour of 10 000 live streams in about a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import failures, heap, returns, scaling, stream
from . import pool as pools
from .arrivals import Sessions
from .cell import (
    ANSWER,
    CALL,
    COUNTS,
    EDGE,
    FREE,
    JOB,
    LANE,
    N_RECENT,
    NOW,
    PLANNED,
    RECENT,
    REPLICA,
    SAMPLE_FIELDS,
    STREAM,
    UP,
    WAITS,
    Cell,
    World,
    rules,
)  # fmt: skip
from .compiled import fill, jit, numbers, rows
from .talk import Talk

N_NOISE = 65_521


@dataclass(frozen=True)
class Result:
    """What happened between `begin_s` and `end_s`; the counts are those of the whole run."""

    cell: Cell
    begin_s: float
    end_s: float
    counts: dict[str, int]
    ended_s: Any
    """Of each final that was answered: when its speech ended, in seconds."""
    latency_s: Any
    """From the end of speech (`inactive`) to the final, at the client."""
    wait_s: Any
    """In the queue of the edge, from the end of speech on."""
    samples: dict[str, Any]
    busy: float
    """Share of their time in which the replicas computed."""
    mean_batch: float
    interim_age_s: float
    """From the wish for an interim to its answer, mean."""
    edge_hours: float
    replica_hours: float
    n_events: int

    def latency_quantile_s(self, quantile: float, begin_s: float = 0.0, end_s: float = 1e18) -> float:
        chosen = self.latency_s[(self.ended_s >= begin_s) & (self.ended_s < end_s)]
        return float(np.quantile(chosen, quantile)) if len(chosen) else float("nan")

    def wait_quantile_s(self, quantile: float) -> float:
        return float(np.quantile(self.wait_s, quantile)) if len(self.wait_s) else float("nan")


def run(
    cell: Cell,
    sessions: Sessions,
    talk: Talk,
    *,
    plan: Sequence[failures.Planned] = (),
    begin_s: float = 0.0,
    end_s: float,
    seed: int = 1,
    sample_s: float = 10.0,
) -> Result:
    """`sessions` come as they are; what they say from `end_s` on is not said, and the run ends with the last answer.
    Latencies, waits and batches are those from `begin_s` to `end_s`.
    """
    w = build(cell, sessions, talk, failures.in_order(plan), begin_s, end_s, seed, sample_s)
    go(w)
    return read(cell, w)


def build(
    cell: Cell, sessions: Sessions, talk: Talk, plan: Sequence[failures.Planned], begin_s: float, end_s: float,
    seed: int, sample_s: float,
) -> World:  # fmt: skip
    dice = np.random.default_rng(seed)
    n_live = sessions.most_at_once(end_s)
    n_jobs = 12 * n_live + 20_000
    n_calls = (
        cell.edge_places * min(cell.max_calls, cell.calls * cell.replica_places) + cell.replica_places * cell.calls + 16
    )
    n_answers = int(1.5 * sessions.live_s(end_s) / talk.mean_cycle_s(cell.silence_s)) + 10_000
    w = World(
        rules=rules(cell),
        now=rows({**NOW, "begin_s": begin_s, "end_s": end_s}, 1),
        counts=rows(dict.fromkeys(COUNTS, 0), 1),
        events=rows(heap.EVENT, 3 * n_live + 4 * n_calls + len(plan) + 10_000),
        streams=rows({**STREAM, "state": WAITS}, len(sessions.at_s)),
        jobs=rows(JOB, n_jobs),
        lanes=rows(LANE, 3 * cell.edge_places),
        edges=rows(EDGE, cell.edge_places),
        recents=rows(RECENT, N_RECENT * cell.edge_places),
        calls=rows(CALL, 2 * n_calls),
        replicas=rows(REPLICA, cell.replica_places),
        plan=rows(PLANNED, max(1, len(plan))),
        on_s=numbers(talk.on_s),
        off_s=numbers(talk.off_s),
        uniform=numbers(dice.random(N_NOISE)),
        normal=numbers(dice.standard_normal(N_NOISE)),
        answers=rows(ANSWER, n_answers),
        samples=rows(SAMPLE_FIELDS, int(end_s / sample_s) + 2),
        sample_s=numbers([sample_s]),
    )
    order = np.argsort(sessions.at_s, kind="stable")
    fill(w.streams, at_s=sessions.at_s[order], length_s=sessions.length_s[order], spurt=sessions.first[order])
    for table in (w.jobs, w.calls):  # All of them are free.
        fill(table, next=[*range(1, len(table)), -1])
    for i, planned in enumerate(plan):
        row = w.plan[i]
        row.at_s, row.action, row.who = planned
        heap.push(w, planned.at_s, heap.PLAN, i, 0)
    for e in range(cell.n_edges):
        failures.edge_up(w, e)
    for r in range(cell.n_replicas):
        failures.replica_up(w, r)
    heap.push(w, 0.0, heap.SAMPLE, 0, 0)
    if len(order):
        heap.push(w, w.streams[0].at_s, heap.ARRIVE, 0, 0)
    if cell.edge_target:
        heap.push(w, 0.0, heap.EDGES, -1, 0)
    if cell.replica_target:
        heap.push(w, 0.0, heap.REPLICAS, -1, 0)
    return w


@jit
def go(w):
    now = w.now[0]
    while now.n_events:
        kind, who, stamp = heap.pop(w)
        now.n_done += 1
        if kind == heap.TALK:
            if w.streams[who].stamp == stamp:
                stream.talk(w, who)
        elif kind == heap.RETURN:
            if w.calls[who].stamp == stamp:
                returns.returned(w, who)
        elif kind == heap.ARRIVE:
            arrive(w, who)
        elif kind == heap.CONNECT:
            if w.streams[who].edge < 0 and w.streams[who].state != 0:
                stream.connect(w, who)
        elif kind == heap.WINDOW:
            if w.edges[who].stamp == stamp:
                pools.wake(w, who)
        elif kind == heap.PLAN:
            failures.act(w, w.plan[who].action, w.plan[who].who)
        elif kind == heap.SAMPLE:
            look(w)
        elif kind == heap.EDGES:
            if who >= 0:
                scaling.edge_step(w, who, stamp)
            elif now.at_s < now.end_s:
                scaling.scale_edges(w)
                heap.push(w, now.at_s + scaling.EDGES_EVERY_S, heap.EDGES, -1, 0)
        elif who >= 0:
            scaling.replica_step(w, who)
        elif now.at_s < now.end_s:
            scaling.scale_replicas(w)
            heap.push(w, now.at_s + scaling.REPLICAS_EVERY_S, heap.REPLICAS, -1, 0)


@jit
def arrive(w, s):
    now, one = w.now[0], w.streams[s]
    if one.at_s >= now.end_s:
        return
    w.counts[0].streams += 1
    one.length_s = min(one.length_s, now.end_s - now.at_s)
    if s + 1 < len(w.streams):
        heap.push(w, w.streams[s + 1].at_s, heap.ARRIVE, s + 1, 0)
    stream.connect(w, s)


@jit
def look(w):
    """The numbers of this moment; and the machine hours since the last look."""
    now, counts = w.now[0], w.counts[0]
    n_edges = n_replicas = waiting = 0
    for e in range(len(w.edges)):
        n_edges += int(w.edges[e].state != 0)
        waiting += w.lanes[3 * e].n
    for r in range(len(w.replicas)):
        n_replicas += int(w.replicas[r].state != 0)
    if now.at_s >= now.end_s:
        return
    row = w.samples[now.n_samples]
    now.n_samples += 1
    row.at_s, row.live, row.away = now.at_s, now.n_live, now.n_away
    row.edges, row.replicas, row.waiting, row.routed, row.busy = n_edges, n_replicas, waiting, now.n_routed, now.n_busy
    row.refusals, row.answered, row.shown = counts.refusals, counts.answered + counts.late, counts.shown
    if now.begin_s <= now.at_s:
        now.edge_s += n_edges * w.sample_s[0]
        now.replica_s += n_replicas * w.sample_s[0]
    heap.push(w, now.at_s + w.sample_s[0], heap.SAMPLE, 0, 0)


def read(cell: Cell, w: World) -> Result:
    now, counts = w.now[0], {name: int(getattr(w.counts[0], name)) for name in COUNTS}

    def column(table: Any, name: str, n: int) -> Any:
        return (
            np.array([getattr(table[i], name) for i in range(n)]) if isinstance(table, list) else table[name][:n].copy()
        )

    assert all(job.state == FREE for job in w.jobs), "a job was lost"
    return Result(
        cell=cell,
        begin_s=float(now.begin_s),
        end_s=float(now.end_s),
        counts=counts,
        **{name: column(w.answers, name, now.n_logged) for name in ANSWER},
        samples={name: column(w.samples, name, now.n_samples) for name in SAMPLE_FIELDS},
        busy=float(now.busy_s / max(1e-9, now.replica_s)),
        mean_batch=counts["items"] / max(1, counts["calls"]),
        interim_age_s=float(now.shown_s / max(1, counts["shown"])),
        edge_hours=float(now.edge_s / 3600),
        replica_hours=float(now.replica_s / 3600),
        n_events=int(now.n_done),
    )


__all__ = ["Result", "UP", "run"]
