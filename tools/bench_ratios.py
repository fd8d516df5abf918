"""Turns the JSON of pytest-benchmark into a Markdown table: per group, how many times faster Voxgate is than each
opponent; keeps these ratios, and compares them with those that were kept.

    python tools/bench_ratios.py build/bench.json [--baseline bench/baseline.json] [--write-baseline] [--tolerance 0.25]

A benchmark whose name starts with ``test_voxgate`` is ours, every other one of its group an opponent. Ratios are of the
minima, which noise disturbs least; times are context, and are not compared: another machine has others. With --baseline
it lists the ratios that fell by more than the tolerance, and ends with 1 when there are any.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

TOLERANCE = 0.25


class Ratio(NamedTuple):
    group: str
    ours: str
    ours_s: float
    opponent: str  # empty: there is none
    opponent_s: float

    @property
    def value(self) -> float:
        return self.opponent_s / self.ours_s

    @property
    def key(self) -> str:
        return f"{self.group} | {self.ours} | {self.opponent}"


def seconds(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def name_of(benchmark: Mapping[str, Any]) -> str:
    return re.sub(r"^test_", "", benchmark["name"]).replace("|", "/")


def ratios_of(report: Mapping[str, Any]) -> Iterator[Ratio]:
    """Of each group, each of ours with each opponent; one that has none once, with an empty name."""
    groups = defaultdict(list)
    for benchmark in report["benchmarks"]:
        groups[benchmark["group"] or "(none)"].append(benchmark)
    for group, benchmarks in sorted(groups.items()):
        ours = [b for b in benchmarks if name_of(b).startswith("voxgate")]
        others = [(name_of(b), b["stats"]["min"]) for b in benchmarks if b not in ours]
        for our in ours:
            for name, theirs_s in others or [("", 0.0)]:
                yield Ratio(group, name_of(our), our["stats"]["min"], name, theirs_s)


def about(report: Mapping[str, Any]) -> str:
    machine = report["machine_info"]
    return (
        f"{machine['cpu'].get('brand_raw', machine['machine'])}, Python {machine['python_version']}, "
        f"commit {report['commit_info'].get('id', 'unknown')[:10]}"
    )


def table(report: Mapping[str, Any]) -> str:
    lines = ["| group | Voxgate | min | opponent | min | ratio |", "|---|---|---|---|---|---|"]
    for ratio in ratios_of(report):
        row = [ratio.group, ratio.ours, seconds(ratio.ours_s)]
        row += [ratio.opponent, seconds(ratio.opponent_s), f"**{ratio.value:.1f}x**"] if ratio.opponent else [""] * 3
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", about(report)])


def kept(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the baseline holds."""
    ratios = {ratio.key: round(ratio.value, 3) for ratio in ratios_of(report) if ratio.opponent}
    return {"about": about(report), "ratios": ratios}


def compare(report: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: float) -> tuple[list[str], list[str]]:
    """What got worse, a line each, and what cannot be compared: it is in one of the two and not in the other."""
    now, before = kept(report)["ratios"], baseline["ratios"]
    worse = [
        f"{key}: {before[key]:.2f}x -> {now[key]:.2f}x ({now[key] / before[key] - 1:+.0%})"
        for key in before
        if key in now and now[key] < before[key] * (1 - tolerance)
    ]
    unknown = [f"{key}: not in the baseline" for key in now if key not in before]
    unknown += [f"{key}: not measured now" for key in before if key not in now]
    return worse, unknown


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", help="JSON of pytest-benchmark")
    parser.add_argument("--baseline", metavar="FILE", help="ratios to compare with")
    parser.add_argument("--write-baseline", action="store_true", help="keep the ratios in that file instead")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share that a ratio may fall (%(default)g)")
    args = parser.parse_args(argv)
    report = json.loads(Path(args.report).read_text(encoding="utf-8"))
    print(table(report))
    if args.baseline is None:
        return 0
    path = Path(args.baseline)
    if args.write_baseline:
        path.write_text(json.dumps(kept(report), indent=1) + "\n", encoding="utf-8")
        return 0
    if not path.exists():
        print(f"\nNothing to compare with: {path} is not there (make bench-baseline).")
        return 0
    baseline = json.loads(path.read_text(encoding="utf-8"))
    worse, unknown = compare(report, baseline, args.tolerance)
    print(f"\nAgainst the baseline ({baseline['about']}):")
    print("\n".join(f"  {line}" for line in worse) or f"  no ratio fell by more than {args.tolerance:.0%}")
    if unknown:
        print(f"  not compared: {len(unknown)}", *(f"    {line}" for line in unknown[:10]), sep="\n")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
