"""Does the simulation give what was measured? Each row: measured, simulated, and how far apart they are.

    python -m bench.scale.validate --live [--seconds 40]    # real servers, about six minutes: bench/scale/live.json

Rows of "live" are of a real server with a model that sleeps; the others are those of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import arrivals, costs, simulation, talk
from .cell import Cell, EdgeCost, ModelCost

FILE = Path(__file__).parent / "live.json"
WARM_UP_S = 15.0
BOUND = 0.15


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    measured: float
    simulated: float
    why: str = ""
    """Of a row that misses the bound."""

    @property
    def deviation(self) -> float:
        return self.simulated / self.measured - 1 if self.measured else 0.0

    @property
    def holds(self) -> bool:
        if self.unit == "points":  # Of percentages.
            return abs(self.simulated - self.measured) <= 100 * BOUND
        return abs(self.deviation) <= BOUND


@dataclass(frozen=True)
class Case:
    """A load of bench/overload.py: a session lasts 6 to 12 s, and has half a second of speech every 1.5 s."""

    name: str
    streams: float
    call_s: tuple[float, float]
    """Of the model, for a call and for an item."""
    threads: int
    queue_wait_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return {"limits.queue_wait_s": self.queue_wait_s}

    def simulate(self, seconds: float, edge: EdgeCost, **changes: Any) -> simulation.Result:
        cell = Cell(
            n_edges=1, n_replicas=self.threads, model=ModelCost(*self.call_s), edge=edge, silence_s=0.3,
            max_items=16 if self.call_s[1] else 1, max_streams=10_000, queue_wait_s=self.queue_wait_s, attempts=0,
            late_s=1e9,
        )  # fmt: skip
        end_s = WARM_UP_S + seconds
        sessions = arrivals.poisson(self.streams / 9.0, 6.0, 12.0, end_s, 1)
        speech = talk.script([0.5], [1.0])
        return simulation.run(cell.but(**changes), sessions, speech, begin_s=WARM_UP_S, end_s=end_s)


OVERLOAD = [
    Case(f"admission, {percent} % of the capacity offered", 0.6 * percent, (0.2, 0.0), 8, 0.2) for percent in (80, 100, 200)
]
BATCHES = [
    Case(f"batches, {percent} % of what full batches do", 1.5 * percent / 100 * 16 / 0.21, (0.05, 0.01), 1, 3600.0)
    for percent in (40, 70, 90)
]
LONGER = 10
"""The simulation runs so many times as long as the measurement, to have no noise of its own."""


def live(seconds: float) -> None:
    from . import live as real

    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import sections

    found = {}
    for case in (*OVERLOAD, *BATCHES):
        print(case.name, flush=True)
        found[case.name] = asdict(real.run(case.streams, seconds, case.settings, case.call_s, case.threads))
    FILE.write_text(json.dumps({**sections.here(), "seconds": seconds, "cases": found}, indent=1) + "\n", encoding="utf-8")


def live_rows(edge: EdgeCost) -> Iterator[Row]:
    measured = json.loads(FILE.read_text(encoding="utf-8"))
    for case in (*OVERLOAD, *BATCHES):
        seen, result = measured["cases"][case.name], case.simulate(LONGER * measured["seconds"], edge)
        yield Row(f"live: {case.name}: latency p50", "ms", 1000 * seen["p50_s"], 1000 * result.latency_quantile_s(0.5))
        yield Row("p99", "ms", 1000 * seen["p99_s"], 1000 * result.latency_quantile_s(0.99))
        yield Row("model busy", "%", 100 * seen["busy"], 100 * result.busy)
        if case in OVERLOAD:
            n = result.counts["streams"]
            yield Row("refused", "points", 100 * seen["refused"], 100 * result.counts["refusals"] / n)
        else:
            yield Row("mean batch", "items", seen["mean_batch"], result.mean_batch)


PAGE_OVERLOAD = {80: (201, 306, 2, 86), 100: (200, 328, 23, 95), 200: (201, 386, 60, 100)}
"""p50 and p99 in ms, refused and model in use in percent: docs/performance.md, `make bench-overload`, before speculation."""
PAGE_UNLEARNED_P99_MS = 2254.0
PAGE_MEAN_BATCH = 10.8
PAGE_RAY_CALLS = {1: 10.0, 2: 19.5, 4: 38.5, 8: 63.0}


def page_rows(measured: Mapping[str, Any]) -> Iterator[Row]:
    edge = costs.edge_cost(measured)
    for point in measured["edge"]["checks"]:
        busy = edge.busy(point["streams"])
        what = f"edge, {point['percent']} % of its capacity, {point['streams']} streams: added latency p50"
        yield Row(what, "ms", point["p50_ms"], 1000 * edge.p50_s(busy))
        yield Row("p99", "ms", point["p99_ms"], 1000 * edge.p99_s(busy))
        yield Row("CPU", "%", 100 * point["busy"], 100 * busy)
    for case, (p50_ms, p99_ms, refused, in_use) in zip(OVERLOAD, PAGE_OVERLOAD.values(), strict=True):
        result = case.simulate(400.0, edge, speculate_s=0.0)
        yield Row(f"`make bench-overload`, {case.name}: latency p50", "ms", p50_ms, 1000 * result.latency_quantile_s(0.5))
        yield Row("p99", "ms", p99_ms, 1000 * result.latency_quantile_s(0.99))
        yield Row("refused", "points", refused, 100 * result.counts["refusals"] / result.counts["streams"])
        yield Row("model busy", "%", in_use, 100 * result.busy)
    result = OVERLOAD[-1].simulate(400.0, edge, speculate_s=0.0, learns=False)
    yield Row("the same without learned admission: p99", "ms", PAGE_UNLEARNED_P99_MS, 1000 * result.latency_quantile_s(0.99))
    yield Row("`make bench-batching`, 200 streams: mean batch", "items", PAGE_MEAN_BATCH, recorded(measured).mean_batch)
    for n, per_s in PAGE_RAY_CALLS.items():
        result = on_ray(n, measured)
        why = "both CPUs of that machine were full" if n == 8 else ""
        yield Row(f"`make bench-cluster`, {n} replicas: calls", "a second", per_s, result.counts["calls"] / 60.0, why)


def recorded(measured: Mapping[str, Any]) -> simulation.Result:
    """bench/batching.py, `load`: 200 streams play the bundled speech once, one after the other, with interims."""
    speech, n = costs.recording(measured, "demo"), 200
    length_s = measured["speech"]["demo"]["length_s"]
    at_s = length_s * np.arange(n) / n
    dice = np.random.default_rng(1)
    sessions = arrivals.Sessions(at_s, np.full(n, length_s), dice.integers(0, len(speech.on_s), n))
    cell = Cell(1, 1, ModelCost(0.05, 0.01), interim_s=0.5, max_streams=10_000, queue_wait_s=3600.0, late_s=1e9)
    return simulation.run(cell, sessions, speech, end_s=60.0)


def on_ray(n_replicas: int, measured: Mapping[str, Any]) -> simulation.Result:
    """More work than the replicas do, one call at a time."""
    hop = measured["edge"]["hop"]
    cell = Cell(
        1, n_replicas, ModelCost(0.1), calls=2, hop_s=hop["hop_s"], hop_second_s=hop["hop_second_s"], max_items=1,
        max_streams=10_000, queue_wait_s=1e9, deadline_s=1e9, late_s=1e9,
    )  # fmt: skip
    sessions = arrivals.poisson(12.0 * n_replicas, 20.0, 30.0, 70.0, 1)
    return simulation.run(cell, sessions, talk.script([0.5], [1.0]), begin_s=10.0, end_s=70.0)


def rows() -> list[Row]:
    measured = costs.load()
    return [*page_rows(measured), *(live_rows(costs.edge_cost(measured)) if FILE.exists() else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true", help="run the servers anew")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each load of a real server")
    args = parser.parse_args()
    if args.live:
        live(args.seconds)
    for row in rows():
        print(f"{row.what:70} {row.measured:9.2f} {row.simulated:9.2f} {row.unit:9} {100 * row.deviation:+6.1f} % {row.holds}")


if __name__ == "__main__":
    main()
