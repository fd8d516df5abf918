"""How many live streams does a core serve? Voxgate and a plain server in the same run, each pinned to one core.

    python bench/load/suite.py [--quick] [--out build/load.json] [--only segmented-20ms-16k-mono ...] [--set KEY=VALUE]

The server has one core, this program another. For each case, one server after the other (the first of the two changes
from case to case), it looks for the largest number of live streams with a p99
of the added latency of at most 20 ms (see docs/load.md), by bisection within bounded time, and says what it tried.
`python bench/load/report.py` makes tables and pictures of the result.
A search takes --time-s at most, and all cases together --total-s: each search has what is left, in equal shares.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

import goals
from search import (
    FULL,
    LIMIT_MS,
    N_OFFSETS,
    QUICK,
    Effort,
    Found,
    Limits,
    Probe,
    n_stream_messages,
    prepare,
    search,
)
from servers import SETTINGS, running

from voxgate import load, recordings
from voxgate.audio.files.read import read_audio
from voxgate.load.report import commit, machine, versions

KINDS = ("voxgate", "plain")
TOTAL_S = 1800.0
LEAST_S = 40.0  # of a search
ATTEMPTS = 2


@dataclass(frozen=True)
class Case:
    route: str
    chunk_ms: int
    rate: int
    channels: int
    container: str | None = None
    """None: PCM. The plain server has no containers."""

    @property
    def name(self) -> str:
        if self.container is not None:
            return f"{self.route}-{self.chunk_ms}ms-{self.container}"
        return f"{self.route}-{self.chunk_ms}ms-{self.rate // 1000}k-{'mono' if self.channels == 1 else 'stereo'}"


CASES = (
    *(
        Case("segmented", chunk_ms, rate, channels)
        for chunk_ms in (20, 100)
        for rate in (16_000, 48_000)
        for channels in (1, 2)
    ),
    Case("simple", 20, 16_000, 1),
    Case("segmented", 300, 48_000, 1, "webm"),  # as Chromium's recorder sends it
)
QUICK_CASES = (Case("segmented", 20, 16_000, 1), Case("segmented", 20, 48_000, 2), Case("simple", 20, 16_000, 1))


def measure(case: Case, kind: str, cpu: int, effort: Effort, limits: Limits, settings: tuple[str, ...]) -> Found:
    planes, from_rate = read_audio(recordings.path("demo"))
    if case.container is None:
        material = load.make_material(planes, from_rate, case.rate, case.channels, "s16", case.chunk_ms)
    else:
        n_messages = n_stream_messages(case.chunk_ms)
        material = load.encode_material(planes, from_rate, case.container, case.chunk_ms, n_messages, N_OFFSETS)

    def told(probe: Probe) -> None:
        p99 = f"{probe.added.p99:.1f} ms" if probe.added else "none"
        late = f", generator late (p99 {probe.late.p99:.1f} ms)" if probe.is_late and probe.late else ""
        wrong = f", {probe.n_wrong} wrong" if probe.n_wrong else ""
        wrong += f": {'; '.join(probe.problems)}" if probe.problems else ""
        print(
            f"    {probe.n_streams:5} streams: p99 {p99}, server {100 * probe.server_cores:.0f} %, "
            f"generator {100 * probe.generator_cores:.0f} %{late}{wrong}{'' if probe.passed else '  <- too many'}",
            flush=True,
        )

    async def run(pid: int, address: str) -> Found:
        target = load.Target.of(address, case.route, None)
        plan = await prepare(target, material, case.route)
        stop_at = goals.CPU_STREAMS if case.name == goals.GOALS[0].case else 0
        return await search(plan, pid, effort, limits, told, stop_at=stop_at)

    with running(kind, cpu, settings) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(server.pid, server.address))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three cases, short: does everything work?")
    parser.add_argument("--out", default="build/load.json", metavar="FILE")
    parser.add_argument("--only", nargs="+", metavar="CASE", help=", ".join(case.name for case in CASES))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of Voxgate's server")
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS, help="p99 of the added latency (%(default)g)")
    parser.add_argument("--time-s", type=float, metavar="S", help=f"of a search, at most ({FULL.time_s:g})")
    parser.add_argument("--total-s", type=float, metavar="S", default=TOTAL_S, help="of all searches (%(default)g)")
    parser.add_argument("--late-ms", type=float, default=LIMIT_MS, help="p99 of our own lateness (%(default)g)")
    args = parser.parse_args()
    if args.only:
        cases = [case for case in CASES if case.name in args.only]
    else:
        cases = list(QUICK_CASES if args.quick else CASES)
    if not cases:
        parser.error("no such case")
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("the suite needs two CPUs: one for the server, one for the load", file=sys.stderr)
        return 2
    server_cpu, our_cpu = cpus[:2]
    os.sched_setaffinity(0, {our_cpu})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it

    began_s = time.monotonic()
    effort, limits = QUICK if args.quick else FULL, Limits(args.limit_ms, args.late_ms)
    if args.time_s is not None:
        effort = replace(effort, time_s=args.time_s)
    results: list[dict[str, Any]] = []
    failed = []
    runs = [(case, kind) for index, case in enumerate(cases) for kind in kinds_of(case, args.kinds, index)]
    beside_s = 0.0  # of a run: its server's start, the references, and what else is not the search
    for index, (case, kind) in enumerate(runs):
        share_s = (args.total_s - (time.monotonic() - began_s)) / (len(runs) - index) - beside_s
        this = replace(effort, time_s=min(effort.time_s, max(LEAST_S, share_s)))
        print(f"{case.name}, {kind}", flush=True)
        run_began_s = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                found = measure(case, kind, server_cpu, this, limits, tuple(args.set))
            except load.ReferenceFailed as error:
                print(f"    reference: {error}", flush=True)
                if attempt == ATTEMPTS - 1:
                    failed.append(f"{case.name}, {kind}")
                continue
            print(f"    -> {found.n_streams} streams{_mark(found)}, {found.seconds:.0f} s", flush=True)
            results.append({"case": case.name, "kind": kind, **vars(case), **msgspec.to_builtins(found)})
            beside_s = time.monotonic() - run_began_s - found.seconds
            break
    report = {
        "schema": 1,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "command": "python bench/load/suite.py " + " ".join(sys.argv[1:]),
        "quick": args.quick,
        "limits": vars(limits),
        "settings": [*SETTINGS, *args.set],
        "seconds": round(time.monotonic() - began_s),
        "load_average": os.getloadavg(),
        "results": results,
        "failed": failed,
    }
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{args.out}, {report['seconds']} s")
    return 1 if failed else 0


def kinds_of(case: Case, kinds: Sequence[str], index: int) -> list[str]:
    """The servers of a case, in the order of their runs."""
    if case.container is not None:
        return [kind for kind in kinds if kind == "voxgate"]
    return list(kinds if index % 2 == 0 else reversed(kinds))


def _mark(found: Found) -> str:
    if all(probe.passed for probe in found.probes) or found.by_generator:
        return " or more" + (": the generator was late" if found.by_generator else "")
    return "" if found.is_exact else " (not to the last 5 %)"


if __name__ == "__main__":
    raise SystemExit(main())
