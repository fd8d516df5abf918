"""Simulates the busy hour of a cell, and writes the questions.

    python -m bench.scale [--minutes 60] [--streams 10000] [--parts sizes day]
    python -m bench.scale --live            # validation on real servers first: fifteen minutes
    python -m bench.scale --report          # tables and pictures of docs/scale.md from build/scale.json
    python -m bench.scale --quick           # a minute: does everything work?

All runs have the same clients, from one seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from math import ceil
from pathlib import Path
from typing import Any

from . import costs, questions, report, validate

ROOT = Path(__file__).parents[2]
PARTS = ("validation", "sizes", "hour", "faults", "sensitivity", "day")
DAY_STREAMS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each run, after which no client speaks")
    parser.add_argument("--streams", type=int, default=questions.N_STREAMS)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--day-hours", type=float, default=24.0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "scale.json")
    parser.add_argument("--live", action="store_true", help="measure a real server anew")
    parser.add_argument(
        "--report", action="store_true", help="write docs/scale.md's tables and pictures, and simulate nothing"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the streams, 5 minutes of each run, and no report"
    )
    args = parser.parse_args()
    if args.quick:
        args.streams, args.minutes, args.day_hours = args.streams // 10, 5.0, 2.0
        args.out = args.out.with_suffix(".quick.json")
    if args.live:
        validate.live(160.0)
    if not args.report:
        simulate(args)
    if not args.quick:
        report.write(json.loads(args.out.read_text(encoding="utf-8")))


def simulate(args: argparse.Namespace) -> None:
    """Parts that are not asked for keep what an earlier run has found."""
    sys.path.insert(0, str(ROOT / "tools"))
    import sections

    measured, prices = costs.load(), costs.Prices()
    found: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    runs = questions.Runs(args.minutes, args.streams)
    args.out.parent.mkdir(exist_ok=True)

    def keep(name: str, value: Any) -> None:
        found[name] = value
        found["about"] = {**sections.here(), "streams": args.streams}
        found.setdefault("minutes", {})[name] = args.minutes
        args.out.write_text(json.dumps(found), encoding="utf-8")

    began_s = time.process_time()
    if "validation" in args.parts:
        rows = validate.rows()
        keep("validation", [{**vars(row), "deviation": row.deviation, "holds": bool(row.holds)} for row in rows])
    if "sizes" in args.parts:
        keep("sizes", questions.sizes(runs, measured, prices))
    if "day" in args.parts:
        keep("day", questions.day(measured, min(DAY_STREAMS, args.streams), args.day_hours))
    if {"hour", "faults", "sensitivity"} & set(args.parts):
        n_replicas = ceil((1 + questions.MARGIN) * found["sizes"][questions.BASE]["replicas"])
        cell = questions.base(measured, n_streams=args.streams).but(n_replicas=n_replicas, shares=True)
        if "hour" in args.parts:
            keep("hour", questions.summary(runs.run("the hour", cell), prices, prices.gpu_hour))
        if "faults" in args.parts:
            keep("faults", questions.faults(runs, cell, prices))
        if "sensitivity" in args.parts:
            keep("sensitivity", questions.sensitivity(runs, cell, prices))
    keep("cpu_s", found.get("cpu_s", 0.0) + time.process_time() - began_s)


if __name__ == "__main__":
    main()
