"""Does the simulation give what was measured? Each row: measured, simulated, and how far apart they are.

    python -m bench.scale.validate --live [--seconds 40]    # real servers, about fifteen minutes: bench/scale/live.json

Rows of "live" are of a real server with a model that sleeps; the others are those of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import arrivals, costs, simulation, talk
from .cell import Cell, EdgeCost, ModelCost

FILE = Path(__file__).parent / "live.json"
WARM_UP_S = 15.0
BOUND = 0.15
N_SEEDS = 10
SESSION_S = (6.0, 12.0)


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    measured: float
    simulated: float
    why: str = ""
    """Of a row that misses the bound."""
    range: tuple[float, float] | None = None
    """Of the simulated runs, when there are several."""

    @property
    def deviation(self) -> float:
        return self.simulated / self.measured - 1 if self.measured else 0.0

    @property
    def holds(self) -> bool:
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
    slower: float = 1.0
    """All times of bench/overload.py, of the model and of the limit on the wait are so many times as long."""

    def simulate(self, seconds: float, edge: EdgeCost, tail_s: float = SESSION_S[1], **changes: Any) -> Pooled:
        """`N_SEEDS` runs of the measurement: clients come for so long, and those that are there go on for `tail_s`."""
        slower = self.slower
        cell = Cell(
            n_edges=1, n_replicas=self.threads, model=ModelCost(*(slower * s for s in self.call_s)), edge=edge,
            silence_s=0.3 * slower, speculate_s=0.2 * slower, max_items=16 if self.call_s[1] else 1, max_streams=10_000,
            queue_wait_s=slower * self.queue_wait_s, attempts=0, late_s=1e9,
        )  # fmt: skip
        begin_s, speech = slower * WARM_UP_S, talk.script([0.5 * slower], [1.0 * slower])
        end_s, stay_s = begin_s + seconds, [slower * s for s in SESSION_S]
        results = []
        for seed in range(N_SEEDS):
            sessions = arrivals.poisson(2 * self.streams / sum(stay_s), *stay_s, end_s, 1, seed)
            results.append(
                simulation.run(
                    cell.but(**changes), sessions, speech, begin_s=begin_s, end_s=end_s + slower * tail_s, seed=seed
                )
            )
        return Pooled(results, seconds)


@dataclass(frozen=True)
class Pooled:
    """What the runs have found together."""

    results: list[simulation.Result]
    seconds: float

    def latency_ms(self, quantile: float) -> float:
        return 1000 * float(np.quantile(np.concatenate([result.latency_s for result in self.results]), quantile))

    def range_ms(self, quantile: float) -> tuple[float, float]:
        found = [1000 * result.latency_quantile_s(quantile) for result in self.results]
        return min(found), max(found)

    def total(self, name: str) -> int:
        return sum(result.counts[name] for result in self.results)

    @property
    def let_in(self) -> float:
        return 1 - self.total("refusals") / self.total("streams")

    @property
    def mean_batch(self) -> float:
        return self.total("items") / self.total("calls")

    def busy(self, case: Case) -> float:
        """As bench/overload.py counts: all calls since the begin, for the time in which clients came."""
        took_s = self.total("calls") * case.call_s[0] + self.total("items") * case.call_s[1]
        return case.slower * took_s / (case.threads * self.seconds * len(self.results))


OVERLOAD = [
    Case(f"admission, {percent} % of the capacity offered", 0.6 * percent, (0.2, 0.0), 8, 0.2)
    for percent in (80, 100, 200)
]
BATCHES = [
    Case(f"batches, {percent} % of what full batches do", 1.5 * percent / 100 * 16 / 0.21, (0.05, 0.01), 1, 900.0)
    for percent in (40, 70, 90)
]
PAGE_SECONDS = 40.0


SLOWER = 4.0
LIVE = [replace(case, slower=SLOWER) for case in (*OVERLOAD, *BATCHES)]


def live(seconds: float) -> None:
    """Two at once, each in a process of its own: they sleep most of the time."""
    from . import live as real

    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    import sections

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = [
            pool.submit(real.run, case.streams, seconds, case.queue_wait_s, case.call_s, case.threads, case.slower)
            for case in LIVE
        ]
        found = {case.name: asdict(run.result()) for case, run in zip(LIVE, runs, strict=True)}
    FILE.write_text(
        json.dumps({**sections.here(), "seconds": seconds, "cases": found}, indent=1) + "\n", encoding="utf-8"
    )


def live_rows(edge: EdgeCost) -> Iterator[Row]:
    measured = json.loads(FILE.read_text(encoding="utf-8"))
    for case in LIVE:
        seen, found = measured["cases"][case.name], case.simulate(measured["seconds"], edge)
        for name, q in ((f"live: {case.name}: latency p50", 0.5), ("p99", 0.99)):
            measured_ms, between = 1000 * seen[f"p{round(100 * q)}_s"], found.range_ms(q)
            why = f"ten runs: {between[0]:.0f} to {between[1]:.0f} ms"
            yield Row(name, "ms", measured_ms, found.latency_ms(q), why, between)
        if not case.call_s[1]:
            yield Row("let in", "%", 100 - 100 * seen["refused"], 100 * found.let_in)
        else:
            yield Row("mean batch", "items", seen["mean_batch"], found.mean_batch)
        until_end = case.simulate(measured["seconds"], edge, tail_s=0.0)  # When its metrics were read.
        yield Row("model busy", "%", 100 * seen["busy"], 100 * until_end.busy(case))


PAGE_OVERLOAD = {80: (201, 306, 2, 86), 100: (200, 328, 23, 95), 200: (201, 386, 60, 100)}
"""docs/performance.md, before speculation: p50 and p99 in ms, refused and model in use in percent."""
PAGE_UNLEARNED_P99_MS = 2254.0
PAGE_MEAN_BATCH = 10.8
PAGE_RAY_CALLS = {1: 10.0, 2: 19.5, 4: 38.5, 8: 63.0}


def page_rows(measured: Mapping[str, Any]) -> Iterator[Row]:
    edge = costs.edge_cost(measured)
    for point in measured["edge"]["checks"]:
        busy = edge.busy(point["streams"])
        what = f"edge, {point['percent']} % of its capacity, {point['streams']} streams: added latency p50"
        near = min(measured["edge"]["points"], key=lambda other: abs(other["streams"] - point["streams"]))
        for name, key, latency_s in ((what, "p50_ms", edge.p50_s(busy)), ("p99", "p99_ms", edge.p99_s(busy))):
            why = f"another run: {near[key]:g} ms with {near['streams']} streams"
            yield Row(name, "ms", point[key], 1000 * latency_s, why)
        yield Row("CPU", "%", 100 * point["busy"], 100 * busy)
    for case, (p50_ms, p99_ms, refused, in_use) in zip(OVERLOAD, PAGE_OVERLOAD.values(), strict=True):
        found = case.simulate(PAGE_SECONDS, edge, speculate_s=0.0)
        yield Row(f"`make bench-overload`, {case.name}: latency p50", "ms", p50_ms, found.latency_ms(0.5))
        yield Row("p99", "ms", p99_ms, found.latency_ms(0.99))
        yield Row("let in", "%", 100 - refused, 100 * found.let_in)
        yield Row("model busy, and calls after the end", "%", in_use, 100 * found.busy(case))
    found = OVERLOAD[-1].simulate(PAGE_SECONDS, edge, speculate_s=0.0, learns=False)
    yield Row("the same without learned admission: p99", "ms", PAGE_UNLEARNED_P99_MS, found.latency_ms(0.99))
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
    sessions = arrivals.poisson(1.0 * n_replicas, 20.0, 30.0, 70.0, 1)
    return simulation.run(cell, sessions, talk.script([0.5], [1.0]), begin_s=10.0, end_s=70.0)


def rows() -> list[Row]:
    measured = costs.load()
    return [*page_rows(measured), *(live_rows(costs.edge_cost(measured)) if FILE.exists() else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true", help="run the servers anew")
    parser.add_argument("--seconds", type=float, default=160.0, help="of each load of a real server")
    args = parser.parse_args()
    if args.live:
        live(args.seconds)
    for row in rows():
        print(
            f"{row.what:70} {row.measured:9.2f} {row.simulated:9.2f} {row.unit:9}"
            f" {100 * row.deviation:+6.1f} % {row.holds}"
        )


if __name__ == "__main__":
    main()
