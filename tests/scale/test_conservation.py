"""Whatever fails, every final ends in exactly one of answered, late, refused and error, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bench.scale import arrivals, failures, simulation, talk
from bench.scale.cell import CALL, COUNTS, Cell, EdgeCost, ModelCost
from bench.scale.failures import Planned

EDGE = EdgeCost(0.01, 0.006, 0.0005, 0.0005, 0.001, 0.002)
CELL = Cell(
    3, 6, ModelCost(0.05, 0.01, 0.01), EDGE, n_zones=3, max_edges=6, calls=2, hop_s=0.005, interim_s=0.5,
    replica_start_s=2.0, edge_start_s=1.0, drain_s=4.0, notice_s=1.0,
)  # fmt: skip
PLANS: dict[str, list[Planned]] = {
    "nothing": [],
    "edge": failures.edge_fails(5.0, 1, 1e9),
    "replica": failures.replica_fails(5.0, 0, 1.0, 2.0),
    "zone": failures.zone_fails(CELL, 5.0, 2, 12.0),
    "deploys": [*failures.edges_deploy(CELL, 3.0), *failures.replicas_deploy(CELL, 4.0)],
    "all edges": [planned for e in range(3) for planned in failures.edge_fails(5.0, e, 1e9)],
    "all replicas": [planned for r in range(6) for planned in failures.replica_fails(5.0, r, 1.0, 3.0)],
}


def run(plan: list[Planned], seed: int = 1, end_s: float = 20.0, **changes: Any) -> tuple[Any, simulation.Result]:
    sessions = arrivals.busy_hour(45, end_s, seed, ramp_s=2.0, mean_s=15.0)
    cell = CELL.but(**changes)
    w = simulation.build(
        cell, sessions, talk.conversation(500, seed=seed), failures.in_order(plan), 0.0, end_s, seed, 1.0
    )
    simulation.go(w)
    return w, simulation.read(cell, w)  # Which finds jobs that were left behind.


@pytest.mark.parametrize("name", PLANS)
def test_every_final_ends_once(name: str) -> None:
    w, result = run(PLANS[name])
    counts = result.counts
    assert counts["finals"] == counts["answered"] + counts["late"] + counts["refused"] + counts["errors"] > 100
    assert counts["guesses"] >= counts["used"]
    now = w.now[0]
    assert (now.n_live, now.n_away, now.n_busy, now.n_routed, now.n_events) == (0, 0, 0, 0, 0)
    assert all(lane.n == 0 for lane in w.lanes)
    assert all(edge.n_streams == 0 and edge.n_calls == 0 and edge.n_waiting == 0 for edge in w.edges)
    assert all(call.edge == CALL["edge"] for call in w.calls)
    if name == "nothing":
        assert counts["lost"] == counts["errors"] == counts["refused"] == counts["refusals"] == 0
    if name == "all edges":
        assert min(counts["gave_up"], counts["refused"]) > 0


def test_a_lost_replica_costs_no_final() -> None:
    _, result = run(PLANS["replica"], n_replicas=2, speculate_s=0.0)
    assert result.counts["errors"] == result.counts["refused"] == 0
    assert result.counts["reruns"] > 0


def test_a_drain_cuts_and_loses_nothing() -> None:
    _, result = run(PLANS["deploys"])
    assert result.counts["errors"] == result.counts["refused"] == 0
    assert result.counts["lost"] > 0


def test_the_same_again() -> None:
    first, second = run(PLANS["zone"])[1], run(PLANS["zone"])[1]
    assert first.counts == second.counts
    assert np.array_equal(first.latency_s, second.latency_s)
    assert run(PLANS["zone"], seed=2)[1].counts != first.counts


def test_a_full_cell_refuses_and_serves_those_that_are_in() -> None:
    _, result = run([], max_streams=5, attempts=0)
    assert result.counts["refusals"] == result.counts["gave_up"] > 0
    assert result.counts["refused"] == result.counts["errors"] == 0
    assert max(result.samples["live"]) <= 15


def test_counts_are_complete() -> None:
    assert set(run([], end_s=3.0)[1].counts) == set(COUNTS)
