"""The questions: how many edges and replicas a busy hour needs, what faults and deploys do, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any

import numpy as np

from . import arrivals, costs, failures, simulation, talk
from .arrivals import Sessions
from .cell import Cell, ModelCost
from .simulation import Result
from .talk import Talk

N_STREAMS = 10_000
EDGE_SHARE = 0.6
"""Of the streams that an edge can serve: what the autoscaler aims at."""
EDGE_CAPACITY = 950
P99_S = 0.5
"""The target: the p99 of finals, from the end of speech to the client."""
BASE = "GPU, an edge makes its share of the calls"
"""The case whose replicas the other questions take."""
MARGIN = 0.15
"""More replicas than the fewest, in the cell whose faults and deploys are simulated."""
RAMP_S = 90.0
"""At the begin, all streams come within a minute; what counts begins after this."""
N_ZONES = 3
BIN_S = 10.0
DAY_TARGET = 140.0
"""Streams of an edge on the small day: a quarter of the others, so that the steps can be seen."""
DAY_REPLICAS = 40
GPU_START_S = 60.0
"""Of a replica with a GPU, whose image is there. An assumption; a small one was measured: 13.5 s."""


def base(measured: Mapping[str, Any], model: ModelCost = costs.GPU_MODEL, n_streams: int = N_STREAMS) -> Cell:
    """Without a number of replicas yet."""
    hop = measured["edge"]["hop"]
    return Cell(
        n_edges=ceil(n_streams / (EDGE_SHARE * EDGE_CAPACITY)), n_replicas=1, model=model,
        edge=costs.edge_cost(measured), n_zones=N_ZONES, calls=2, hop_s=hop["hop_s"],
        hop_second_s=hop["hop_second_s"], max_streams=EDGE_CAPACITY, replica_start_s=GPU_START_S,
    )  # fmt: skip


class Runs:
    """Runs of one length, each with a line of what came out."""

    def __init__(self, minutes: float, n_streams: int = N_STREAMS, seed: int = 1) -> None:
        self.end_s = 60 * minutes
        self.n_streams = n_streams
        self.seed = seed
        self.sessions = arrivals.busy_hour(n_streams, self.end_s, seed)
        self.talk = talk.conversation(seed=seed)

    def run(
        self, name: str, cell: Cell, plan: Sequence[failures.Planned] = (), speech: Talk | None = None,
        sessions: Sessions | None = None, begin_s: float = RAMP_S,
    ) -> Result:  # fmt: skip
        began_s = time.process_time()
        result = simulation.run(
            cell,
            sessions or self.sessions,
            speech or self.talk,
            plan=plan,
            begin_s=begin_s,
            end_s=self.end_s,
            seed=self.seed,
        )
        print(
            f"{name}: {cell.n_edges} edges, {cell.n_replicas} replicas:"
            f" p99 {1000 * result.latency_quantile_s(0.99):.0f} ms, busy {result.busy:.0%},"
            f" batch {result.mean_batch:.1f}; {result.n_events / 1e6:.1f} million events,"
            f" {time.process_time() - began_s:.0f} s",
            flush=True,
        )
        return result

    def least_replicas(self, name: str, cell: Cell, low: int, high: int, p99_s: float = P99_S) -> Result:
        """The run with the fewest replicas whose p99 is at most `p99_s`, to 5 %; `high` has to be enough."""
        found = None
        while found is None or high - low > max(1, 0.05 * high):
            middle = high if found is None else (low + high) // 2
            result = self.run(name, cell.but(n_replicas=middle))
            if result.latency_quantile_s(0.99) <= p99_s and not result.counts["refusals"]:
                found, high = result, middle
            elif found is None:
                low, high = high, 2 * high
            else:
                low = middle
        return found


def summary(result: Result, prices: costs.Prices, replica_hour: float) -> dict[str, Any]:
    cell, counts = result.cell, result.counts
    hours = (result.end_s - result.begin_s) / 3600
    edges, replicas = cell.n_edges * prices.edge_cpus * prices.cpu_hour, cell.n_replicas * replica_hour
    return {
        "edges": cell.n_edges,
        "replicas": cell.n_replicas,
        "p50_ms": 1000 * result.latency_quantile_s(0.5),
        "p99_ms": 1000 * result.latency_quantile_s(0.99),
        "p999_ms": 1000 * result.latency_quantile_s(0.999),
        "busy": result.busy,
        "mean_batch": result.mean_batch,
        "edge_busy": cell.edge.busy(
            float(np.mean(result.samples["live"][len(result.samples["live"]) // 5 :])) / cell.n_edges
        ),
        "finals_per_s": len(result.latency_s) / (3600 * hours),
        "interims_shown": counts["shown"] / max(1, counts["interims"]),
        "interim_age_ms": 1000 * result.interim_age_s,
        "dollars_edges": edges,
        "dollars_replicas": replicas,
        "counts": counts,
        "events": result.n_events,
    }


def timeline(result: Result) -> dict[str, list[float]]:
    """p50 and p99 of the finals whose speech ended within each 10 s, and how many streams were there and away."""
    bins = np.arange(result.begin_s, result.end_s, BIN_S)
    place = np.floor((result.ended_s - result.begin_s) / BIN_S).astype(int)
    order = np.argsort(place, kind="stable")
    parts = np.split(result.latency_s[order], np.searchsorted(place[order], np.arange(1, len(bins))))
    samples = result.samples
    return {
        "at_s": [float(at_s) for at_s in bins],
        "p50_s": [float(np.quantile(part, 0.5)) if len(part) else float("nan") for part in parts],
        "p99_s": [float(np.quantile(part, 0.99)) if len(part) else float("nan") for part in parts],
        **{name: [float(value) for value in samples[name]] for name in ("live", "away", "edges", "replicas")},
        "sample_s": [float(value) for value in samples["at_s"]],
    }


# --- the questions ---


def sizes(runs: Runs, measured: Mapping[str, Any], prices: costs.Prices) -> dict[str, Any]:
    """Replicas for the target: on a GPU and on CPUs, without and with interim results."""
    share = runs.n_streams / N_STREAMS
    gpu = base(measured, n_streams=runs.n_streams)
    cpu = base(measured, costs.model_cost(measured), runs.n_streams).but(replica_start_s=13.5)
    cases: dict[str, tuple[Cell, int, int, float]] = {
        "GPU": (gpu, 40, 80, prices.gpu_hour),
        BASE: (gpu.but(shares=True), 40, 64, prices.gpu_hour),
        "GPU, share of the calls, interims": (gpu.but(shares=True, interim_s=0.5), 48, 96, prices.gpu_hour),
        "moonshine on CPUs, share of the calls": (cpu.but(shares=True), 150, 280, prices.cpu_hour),
    }
    return {
        name: summary(runs.least_replicas(name, cell, round(low * share), round(high * share)), prices, hour)
        for name, (cell, low, high, hour) in cases.items()
    }


def faults(runs: Runs, cell: Cell, prices: costs.Prices) -> dict[str, Any]:
    """A zone, an edge, a replica; deploys. Each at a third of the run."""
    at_s = runs.end_s / 3
    spare = cell.but(n_edges=ceil(1.5 * cell.n_edges), n_replicas=ceil(1.5 * cell.n_replicas))
    until_s = runs.end_s * 2 / 3
    doubled = cell.but(max_edges=2 * cell.n_edges)
    cases: dict[str, tuple[Cell, Callable[[Cell], list[failures.Planned]]]] = {
        "nothing": (cell, lambda _: []),
        "an edge": (cell, lambda of: failures.edge_fails(at_s, 0, of.edge_start_s)),
        "a replica": (cell, lambda of: failures.replica_fails(at_s, 0, of.notice_s, of.replica_start_s)),
        "a zone, no spare": (cell, lambda of: failures.zone_fails(of, at_s, 0, until_s)),
        "a zone, spare for it": (spare, lambda of: failures.zone_fails(of, at_s, 0, until_s)),
        "a zone, spare, `limits.queue_wait_s` 5": (
            spare.but(queue_wait_s=5.0), lambda of: failures.zone_fails(of, at_s, 0, until_s),
        ),
        "deploy of edges": (doubled, lambda of: failures.edges_deploy(of, at_s)),
        "deploy of replicas": (cell, lambda of: failures.replicas_deploy(of, at_s)),
        "deploy of replicas, a fifth spare": (
            cell.but(n_replicas=ceil(1.25 * cell.n_replicas)), lambda of: failures.replicas_deploy(of, at_s),
        ),
    }  # fmt: skip
    found = {}
    for name, (of, plan) in cases.items():
        result = runs.run(name, of, plan(of))
        after = result.latency_quantile_s(0.99, at_s, at_s + 120)
        found[name] = {
            **summary(result, prices, prices.gpu_hour),
            "p99_after_ms": 1000 * after,
            "away_most": float(np.max(result.samples["away"])),
            "timeline": timeline(result),
        }
    return found


def sensitivity(runs: Runs, cell: Cell, prices: costs.Prices) -> dict[str, Any]:
    """One number changed at a time, with the same edges and replicas."""
    model = cell.model
    times = {factor: ModelCost(*(factor * value for value in asdict(model).values())) for factor in (0.8, 1.25)}
    cases: dict[str, tuple[Cell, Talk | None]] = {
        "as it is": (cell, None),
        **{f"talk share {share:.0%}": (cell, talk.conversation(share=share)) for share in (0.3, 0.5)},
        **{f"model {factor:g} times as slow": (cell.but(model=cost), None) for factor, cost in times.items()},
        **{f"batch window {1000 * s:.0f} ms": (cell.but(window_s=s), None) for s in (0.02, 0.05)},
        "without speculation": (cell.but(speculate_s=0.0), None),
        "each edge as many calls as all replicas": (cell.but(shares=False), None),
    }
    return {
        name: summary(runs.run(name, of, speech=speech), prices, prices.gpu_hour)
        for name, (of, speech) in cases.items()
    }


def day(measured: Mapping[str, Any], n_streams: int, hours: float = 24.0) -> dict[str, Any]:
    """A day of a small cell, with both autoscalers."""
    cell = base(measured, n_streams=n_streams).but(
        n_edges=2, n_replicas=2, shares=True, max_edges=16, max_replicas=DAY_REPLICAS, edge_target=DAY_TARGET,
        replica_target=1.0, min_replicas=2,
    )  # fmt: skip
    end_s = 3600 * hours
    result = simulation.run(
        cell, arrivals.whole_day(n_streams, end_s=end_s), talk.conversation(), begin_s=0.0, end_s=end_s, sample_s=60.0
    )
    samples = {name: [float(value) for value in values] for name, values in result.samples.items()}
    return {
        "n_streams": n_streams, "edge_hours": result.edge_hours, "replica_hours": result.replica_hours,
        "most_edges": max(samples["edges"]), "most_replicas": max(samples["replicas"]), "samples": samples,
        "p99_ms": 1000 * result.latency_quantile_s(0.99), "counts": result.counts, "busy": result.busy,
        "p99_by_hour_ms": [1000 * result.latency_quantile_s(0.99, 3600 * h, 3600 * (h + 1)) for h in range(int(hours))],
    }  # fmt: skip
