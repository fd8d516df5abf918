"""The tables of `make bench-turns`, and whether its promises hold.

    python bench/turn_report.py [RESULT: build/turns.json] [--force]

Writes the tables between `<!-- turns: begin -->` and `<!-- turns: end -->` of docs/performance.md, and a short one
between the same marks of docs/series/5-voice-activity.md. A quick run, or one of some rows, is printed and goes
nowhere, unless --force is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]

import sections
from turn_cases import BASE, DEFAULT, MOONSHINE
from turn_material import ANYWHERE, PHRASE_ENDS, PROMPTS
from turn_score import Score, interval

from voxgate.load.quantiles import quantiles

MARK, TITLE = "turns:", "From the last word to the final"
WITHIN_MS, LAST_WORD_MS, FALSE_CUTS, NOISE = 20.0, 350.0, 0.03, 0.05
DETECTORS = ("smart-turn", "text")
MATERIALS = ("reading", PHRASE_ENDS, PROMPTS, ANYWHERE)
"""A run without the prompts has no rows of theirs."""

Row = dict[str, Any]


def summary(score: Score) -> Row:
    """Quantiles in ms (None without values), and counts."""
    found: Row = {
        name: None if (some := quantiles(values)) is None else {"p50": some.p50, "p95": some.p95, "p99": some.p99}
        for name, values in (
            ("latency_ms", score.latencies_s),
            ("beyond_ms", score.beyond_s),
            ("final_ms", score.finals_s),
        )
    }
    names = ("n_turns", "n_cut_turns", "n_pauses", "n_cuts", "n_together", "n_lost")
    return found | {name: getattr(score, name) for name in names}


def share(some: int, of_all: int) -> float:
    return some / of_all if of_all else 0.0


def percent(some: int, of_all: int) -> str:
    return f"{100 * share(some, of_all):.0f} %" if of_all else ""


def milliseconds(quantiles_ms: dict[str, float] | None, name: str) -> str:
    return "" if quantiles_ms is None else f"{quantiles_ms[name]:.0f} ms"


def in_time(answers: dict[str, int]) -> str:
    """Of a turn detector; empty when there is none."""
    n_answers = sum(answers.values())
    return percent(n_answers - sum(answers[name] for name in ("late", "failed", "refused", "no_text")), n_answers)


def cuts(row: Row) -> str:
    """Of the kinds of conversations."""
    return ", ".join(
        f"{kind}: cut {row[kind]['n_cut_turns']} of {row[kind]['n_turns']}"
        f" ({row[kind]['n_cuts']} cuts at {row[kind]['n_pauses']} pauses)"
        for kind in (PHRASE_ENDS, PROMPTS, ANYWHERE)
        if kind in row
    )


def n_sentences(row: Row) -> int:
    return int(row["conversation"]["n_turns"] + row["reading"]["n_turns"])


def line(row: Row) -> str:
    """One row for a terminal."""
    talk, calls = row["conversation"], row["calls"]
    return (
        f"{row['model']}, {row['setting']}, {row['load']} %: {row['n_streams']} streams, model busy {row['busy']:.0%}, "
        f"last word to final p50 {milliseconds(talk['latency_ms'], 'p50')}"
        f" p95 {milliseconds(talk['latency_ms'], 'p95')}, "
        f"after the silence {milliseconds(talk['beyond_ms'], 'p50')}, {cuts(row)}, "
        f"together {talk['n_together']}, lost {talk['n_lost']}; "
        f"reading p50 {milliseconds(row['reading']['latency_ms'], 'p50')} cut {row['reading']['n_cut_turns']}; "
        f"calls {calls}, speculations {row['speculations']}, answers {row['answers']}, model {row['model_s']:.1f} s, "
        f"{row['cores']:.2f} cores, late {row['late_p99_ms']:.1f} ms"
    )


# --- promises ---


class Verdict(NamedTuple):
    """A promise and what was measured; `is_kept` is None when it was not measured."""

    promise: str
    limit: str
    measured: str = ""
    cut: str = ""
    is_kept: bool | None = None


def criteria(report: Row) -> list[Verdict]:
    found = [_default_at_half(report["rows"])]
    found += [_detector(report, name, material) for name in DETECTORS for material in MATERIALS]
    found.append(_saturation(report["saturation"]))
    return found


def _row(rows: Sequence[Row], model: str, setting: str, load: int) -> Row | None:
    return next((row for row in rows if (row["model"], row["setting"], row["load"]) == (model, setting, load)), None)


def _default_at_half(rows: Sequence[Row]) -> Verdict:
    promised = Verdict("default settings, 50 % load: end of the silence to final", f"{WITHIN_MS:g} ms")
    row = _row(rows, MOONSHINE.name, DEFAULT, 50)
    if row is None or row["conversation"]["beyond_ms"] is None:
        return promised
    beyond_ms = row["conversation"]["beyond_ms"]["p50"]
    return promised._replace(measured=f"{beyond_ms:.1f} ms", is_kept=beyond_ms <= WITHIN_MS)


def _detector(report: Row, name: str, material: str) -> Verdict:
    """At the fastest of its settings. What it cuts is counted without a clock, if it was."""
    rows = report["rows"]
    measured = [
        row
        for setting in (name, f"{name}, early {DEFAULT}")
        if (row := _row(rows, MOONSHINE.name, setting, 0)) is not None
        and material in row
        and row[material]["latency_ms"] is not None
    ]
    if not measured:
        return Verdict(f"{name}, {material}", f"{LAST_WORD_MS:g} ms")
    best = min(measured, key=lambda row: float(row[material]["latency_ms"]["p50"]))
    found = best[material]
    p50_ms = found["latency_ms"]["p50"]
    played = (found["n_cut_turns"], found["n_turns"])
    n_cut, n_turns = report.get("decided", {}).get(name, {}).get(material, played)
    low, high = interval(n_cut, n_turns)
    return Verdict(
        f"{best['setting']}, {material}",
        f"{LAST_WORD_MS:g} ms",
        f"{p50_ms:.0f} ms",
        f"{n_cut} of {n_turns} ({100 * low:.0f} to {100 * high:.0f} %)",
        p50_ms <= LAST_WORD_MS and share(n_cut, n_turns) <= FALSE_CUTS,
    )


def _saturation(rows: Sequence[Row]) -> Verdict:
    promise = "300 ms, saturated: p99 of the finals with speculation, limit: without it, and noise"
    p99s_ms = {
        name: [row["conversation"]["final_ms"]["p99"] for row in rows if row["setting"] == name]
        for name in (BASE, DEFAULT)
    }
    if not all(p99s_ms.values()):
        return Verdict(promise, "")
    without_ms, with_ms = (statistics.mean(p99s_ms[name]) for name in (BASE, DEFAULT))
    noise_ms = max(NOISE * without_ms, *(max(values) - min(values) for values in p99s_ms.values()))
    limit = f"{without_ms:.0f} + {noise_ms:.0f} ms"
    return Verdict(promise, limit, f"{with_ms:.0f} ms", is_kept=with_ms - without_ms <= noise_ms)


# --- tables ---


def full_table(rows: Sequence[Row]) -> list[str]:
    """Of moonshine: a row for each setting, a column for each load. Cuts are counted without a clock."""
    rows = [row for row in rows if row["model"] == MOONSHINE.name]
    n_streams = {row["load"]: row["n_streams"] for row in rows}
    loads = [f"{n} streams, {f'{load} % load' if load else 'light load'}" for load, n in n_streams.items()]
    lines = [
        f"| {MOONSHINE.name}: last word to final, p50 / p95 | {' | '.join(loads)} | model calls a sentence "
        "| answers in time |",
        "|---|" + "---|" * len(loads) + "---|---|",
    ]
    for setting in dict.fromkeys(row["setting"] for row in rows):
        by_load = {row["load"]: row for row in rows if row["setting"] == setting}
        first = next(iter(by_load.values()))
        cells = [both(by_load[load]["conversation"]) if load in by_load else "" for load in n_streams]
        answers = " / ".join(text for row in by_load.values() if (text := in_time(row["answers"])))
        n_calls = sum(first["calls"].values()) / n_sentences(first)
        lines.append(f"| {setting} | {' | '.join(cells)} | {n_calls:.2f} | {answers} |")
    return lines


def both(talk: Row) -> str:
    """The median and the 95th percentile."""
    if (found := talk["latency_ms"]) is None:
        return ""
    return f"{found['p50']:.0f} / {found['p95']:.0f} ms"


def promises_table(report: Row) -> list[str]:
    lines = ["| promise, median | limit | measured | sentences cut (95 % interval) | kept |", "|---|---|---|---|---|"]
    for found in criteria(report):
        kept = "not measured" if found.is_kept is None else "yes" if found.is_kept else "**no**"
        lines.append(f"| {found.promise} | {found.limit} | {found.measured} | {found.cut} | {kept} |")
    return lines


def short_table(report: Row) -> list[str]:
    """For the series: moonshine alone, without the detector `text`, with few streams and at the largest load."""
    rows = [row for row in report["rows"] if row["model"] == MOONSHINE.name]
    highest = max((row["load"] for row in rows), default=0)
    lines = [
        f"| | last word to final, a few streams | at {highest} % load | model calls a sentence |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        if row["load"] or row["setting"].startswith("text"):
            continue
        loaded = _row(rows, MOONSHINE.name, row["setting"], highest)
        lines.append(
            f"| {row['setting']} | {milliseconds(row['conversation']['latency_ms'], 'p50')} "
            f"| {'' if loaded is None else milliseconds(loaded['conversation']['latency_ms'], 'p50')} "
            f"| {sum(row['calls'].values()) / n_sentences(row):.2f} |"
        )
    return lines


def markdown(report: Row) -> str:
    lines = [sections.where("make bench-turns", report), "", *full_table(report["rows"])]
    late_ms = max(row["late_p99_ms"] for row in [*report["rows"], *report["saturation"]])
    ends_ms = ", ".join(f"{ms:+d}" for ms in report["material"]["energy_ends_ms"])
    lines += [
        "",
        f"At most {100 * FALSE_CUTS:g} % of the sentences may be cut.",
        "",
        *promises_table(report),
        "",
        f"The energy of the recording ends {ends_ms} ms after the aligned last words. In the worst row, 1 % of the "
        f"messages left at least {late_ms:.0f} ms late. The run took {report['took_s'] / 60:.0f} minutes.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", nargs="?", type=Path, default=ROOT / "build" / "turns.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="DIRECTORY")
    parser.add_argument("--force", action="store_true", help="also a run that was quick or of some rows")
    args = parser.parse_args()
    report = json.loads(args.result.read_text(encoding="utf-8"))
    print(markdown(report))
    if (report["quick"] or report["partial"]) and not args.force:
        print("\nnothing written: this was a quick run, or one of some rows (--force)")
        return 0
    short = "\n".join([sections.where("make bench-turns", report), "", *short_table(report)])
    sections.put(args.docs / "performance.md", MARK, markdown(report), TITLE)
    sections.put(args.docs / "series" / "5-voice-activity.md", MARK, short)
    print(f"\nwritten: {args.docs}/performance.md and {args.docs}/series/5-voice-activity.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
