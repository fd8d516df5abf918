"""Turns the JSON of pytest-benchmark into a Markdown table: per group, how many times faster Voxgate is than each
opponent.

    python tools/bench_ratios.py build/bench.json

A benchmark whose name starts with ``test_voxgate`` is ours, every other one of its group an opponent. Ratios are of the
minima, which noise disturbs least; times are context.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path


def seconds(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def name_of(benchmark: dict) -> str:
    return re.sub(r"^test_", "", benchmark["name"]).replace("|", "/")


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    groups = defaultdict(list)
    for benchmark in report["benchmarks"]:
        groups[benchmark["group"] or "(none)"].append(benchmark)
    print("| group | Voxgate | min | opponent | min | ratio |")
    print("|---|---|---|---|---|---|")
    for group, benchmarks in sorted(groups.items()):
        ours = [b for b in benchmarks if name_of(b).startswith("voxgate")]
        others = [b for b in benchmarks if b not in ours]
        for our in ours:
            mine = our["stats"]["min"]
            for other in others or [None]:
                theirs = other["stats"]["min"] if other else 0
                row = [group, name_of(our), seconds(mine)]
                row += [name_of(other), seconds(theirs), f"**{theirs / mine:.1f}x**"] if other else ["", "", ""]
                print("| " + " | ".join(row) + " |")
    machine = report["machine_info"]
    print(
        f"\n{machine['cpu'].get('brand_raw', machine['machine'])}, Python {machine['python_version']}, "
        f"commit {report['commit_info'].get('id', 'unknown')[:10]}"
    )


if __name__ == "__main__":
    main()
