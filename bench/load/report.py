"""Tables and pictures of what the load suite found, or the cost curves.

    python bench/load/report.py [RESULT: build/load.json] [--docs docs/performance.md] [--images docs/images]
    python bench/load/report.py build/curves.json

Writes the tables into docs/performance.md, between `<!-- load suite: begin -->` and `<!-- load suite: end -->`, those
of the curves between `<!-- cost curves: begin -->` and `<!-- cost curves: end -->` (without them, at its end), and the
pictures load-capacity.svg, load-latency.svg and streams-per-core.svg, or load-curves.svg, into docs/images. The result
of a quick run, or of one with other limits, is printed and goes nowhere, unless --force says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tools")]

import curve_report
import goals
import headline
import sections

MARK, TITLE = "load suite:", "Live streams on a core"
NAMES = {"voxgate": "Voxgate", "plain": "plain server"}
CONTAINERS = {"webm": "WebM with Opus"}
COLOURS = {"voxgate": "#2563eb", "plain": "#9ca3af"}


def by_case(report: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    cases: dict[str, dict[str, dict[str, Any]]] = {}
    for result in report["results"]:
        cases.setdefault(result["case"], {})[result["kind"]] = result
    return {case: {kind: kinds[kind] for kind in NAMES if kind in kinds} for case, kinds in cases.items()}


def best(result: dict[str, Any]) -> dict[str, Any] | None:
    """The probe of the largest number that passed."""
    passed = [probe for probe in result["probes"] if probe["passed"] and probe["n_streams"] == result["n_streams"]]
    return passed[-1] if passed else None


def count(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    if not result["n_streams"]:
        return "none"
    if result["by_generator"] or all(probe["passed"] for probe in result["probes"]):
        return f"{result['n_streams']} or more"
    return f"{result['n_streams']}" if result["is_exact"] else f"about {result['n_streams']}"


def describe(result: dict[str, Any]) -> str:
    channels = "mono" if result["channels"] == 1 else "stereo" if result["channels"] == 2 else result["channels"]
    if result.get("container"):  # results of earlier commits have none
        return f"{result['route']}, {result['chunk_ms']} ms, {CONTAINERS[result['container']]}"
    return f"{result['route']}, {result['chunk_ms']} ms, {result['rate'] // 1000} kHz, {channels}"


def capacity_table(report: dict[str, Any]) -> list[str]:
    lines = ["| live streams on one core | Voxgate | plain server | ratio |", "|---|---|---|---|"]
    for kinds in by_case(report).values():
        ours, theirs = kinds.get("voxgate"), kinds.get("plain")
        ratio = ""
        # Two numbers that were not found to the end make no ratio.
        if ours and theirs and theirs["n_streams"] and ours["is_exact"] and theirs["is_exact"]:
            at_least = "at least " if ours["by_generator"] else ""
            ratio = f"{at_least}**{ours['n_streams'] / theirs['n_streams']:.1f}x**"
        what = describe(ours or theirs or {})
        lines.append(f"| {what} | {count(ours)} | {count(theirs)} | {ratio} |")
    return lines


def detail_table(report: dict[str, Any]) -> list[str]:
    """Two numbers in a cell: Voxgate's, and the plain server's if it has the case."""
    lines = [
        "| at that number: Voxgate; plain server | added latency p50 / p99 / p99.9 / max | CPU of a message | CPU "
        "| memory of a stream |",
        "|---|---|---|---|---|",
    ]
    for kinds in by_case(report).values():
        found = [best(result) for result in kinds.values()]
        if not any(found):
            continue
        cells = (
            "; ".join("none" if probe is None else text(probe) for probe in found)
            for text in (
                curve_report.added,
                lambda probe: f"{probe['cpu_us_per_message']:.1f} us",
                lambda probe: f"{100 * probe['server_cores']:.0f} %",
                lambda probe: f"{probe['memory_kib_per_stream']:.0f} KiB",
            )
        )
        lines.append(f"| {describe(next(iter(kinds.values())))} | {' | '.join(cells)} |")
    return lines


def goals_table(report: dict[str, Any]) -> list[str]:
    cases = by_case(report)
    return goals.table(cases, {name: describe(next(iter(kinds.values()))) for name, kinds in cases.items()})


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{sections.where('make bench-load', report)} One core for the server, one for the load; a model that does "
        f"nothing; p99 of the added latency and of the generator's own lateness at most "
        f"{report['limits']['added_ms']:g} ms (the median of the seconds of a probe).",
        "",
        "![Live streams on one core, Voxgate and the plain server, for each case](images/load-capacity.svg)",
        "",
        *capacity_table(report),
        "",
        "![p99 of the added latency over the number of streams, for each case](images/load-latency.svg)",
        "",
        *detail_table(report),
        "",
        *goals_table(report),
    ]
    if report["failed"]:
        lines += ["", f"Without a result: {'; '.join(report['failed'])}."]
    return "\n".join(lines)


def draw(report: dict[str, Any], images: Path) -> list[Path]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "voxgate", "font.size": 9, "axes.spines.top": False})
    from matplotlib import pyplot as plt

    cases = by_case(report)
    figure, axes = plt.subplots(figsize=(7.5, 0.5 * len(cases) + 1.2), layout="constrained")
    for row, kinds in enumerate(cases.values()):
        for kind, result in kinds.items():
            place = row + (-0.2 if kind == "voxgate" else 0.2)
            axes.barh(place, result["n_streams"], 0.38, color=COLOURS[kind], label=None if row else NAMES[kind])
            axes.text(result["n_streams"], place, f" {count(result)}", va="center", fontsize=8)
    axes.set_yticks(range(len(cases)), [describe(next(iter(kinds.values()))) for kinds in cases.values()])
    axes.invert_yaxis()
    axes.set_xlabel(f"live streams on one core, p99 of the added latency <= {report['limits']['added_ms']:g} ms")
    axes.legend(frameon=False, loc="lower right")
    capacity = images / "load-capacity.svg"
    figure.savefig(capacity, metadata={"Date": None})
    plt.close(figure)

    figure, panes = plt.subplots(
        -(-len(cases) // 3), min(3, len(cases)), figsize=(9, 2.4 * -(-len(cases) // 3)), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for pane in panes.flat[len(cases) :]:
        pane.set_visible(False)
    for pane, kinds in zip(panes.flat, cases.values(), strict=False):
        for kind, result in kinds.items():
            probes = sorted(
                (probe["n_streams"], probe["added"]["p99"]) for probe in result["probes"] if probe["added"] is not None
            )
            pane.plot(*zip(*probes, strict=True), "o-", ms=3, lw=1, color=COLOURS[kind], label=NAMES[kind])
        pane.axhline(report["limits"]["added_ms"], color="#dc2626", lw=0.7)
        pane.set_yscale("log")
        pane.set_title(describe(next(iter(kinds.values()))), fontsize=8)
        pane.set_xlim(left=0)
    panes[0][0].set_ylabel("added latency, p99, ms")
    panes[-1][0].set_xlabel("live streams")
    panes[0][0].legend(frameon=False, fontsize=7)
    latency = images / "load-latency.svg"
    figure.savefig(latency, metadata={"Date": None})
    plt.close(figure)
    return [capacity, latency]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", default=str(ROOT / "build" / "load.json"))
    parser.add_argument("--docs", default=str(ROOT / "docs" / "performance.md"), metavar="FILE")
    parser.add_argument("--images", default=str(ROOT / "docs" / "images"), metavar="DIRECTORY")
    parser.add_argument("--force", action="store_true", help="also with a run that was quick or had other limits")
    args = parser.parse_args()
    report = json.loads(Path(args.result).read_text(encoding="utf-8"))
    is_curves = report.get("kind") == "curves"
    text = curve_report.markdown(report) if is_curves else markdown(report)
    print(text)
    late_ms = 5.0 if is_curves else 20.0
    is_official = not report["quick"] and report["limits"] == {"added_ms": 20.0, "late_ms": late_ms}
    if is_official or args.force:
        mark, title = (curve_report.MARK, curve_report.TITLE) if is_curves else (MARK, TITLE)
        sections.put(Path(args.docs), mark, text, title)
        pictures = (curve_report.draw if is_curves else draw)(report, Path(args.images))
        if not is_curves and headline.LIMIT.search(Path(args.docs).read_text(encoding="utf-8")):
            pictures.append(headline.draw(Path(args.docs), Path(args.images)))
        print(f"\nwritten: {args.docs}, {', '.join(map(str, pictures))}")
    else:
        print("\nnothing written: this was a quick run, or one with other limits (--force)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
