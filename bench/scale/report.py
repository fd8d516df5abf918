"""The tables and pictures of docs/scale.md, from what `python -m bench.scale` has found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from . import arrivals, costs, pictures, questions

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scale.md"
sys.path.insert(0, str(ROOT / "tools"))

import sections

N_CELLS = 100
REDIS_RENEWAL_S = 10.0


def write(found: Mapping[str, Any], page: Path = PAGE) -> None:
    """Parts that were not found stay as they are on the page."""
    measured, prices = costs.load(), costs.Prices()
    sections.put(page, "scale: costs", f"\n{cost_table(measured, prices)}\n")
    parts: list[tuple[str, str, Callable[[], str]]] = [
        ("validation", "validation", lambda: validation_table(found)),
        ("sizes", "sizes", lambda: sizes_table(found)),
        ("faults", "faults", lambda: faults_table(found)),
        ("sensitivity", "sensitivity", lambda: sensitivity_table(found)),
        ("day", "day", lambda: day_text(found, prices)),
        ("hour", "hour", lambda: hour_text(found)),
        ("million", "sizes", lambda: million_table(found)),
    ]
    for name, of, text in parts:
        if of in found and (name != "day" or "sizes" in found):  # A day is compared with the busy hour.
            sections.put(page, f"scale: {name}", f"\n{text().strip()}\n")
    for name, draw in (
        ("validation", pictures.draw_validation),
        ("faults", pictures.draw_faults),
        ("day", pictures.draw_day),
    ):
        if name in found:
            draw(found)


def table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(
        ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(line) + " |" for line in lines)]
    )


def ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms" if value < 9_950 else f"{value / 1000:.0f} s"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def dollars(value: float) -> str:
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


# --- tables ---


def cost_table(measured: Mapping[str, Any], prices: costs.Prices) -> str:
    edge, hop = measured["edge"]["fit"], measured["edge"]["hop"]
    speech = measured["speech"]["reading"]
    lines = [
        [
            "live stream on an edge",
            f"{1000 * edge['stream_s']:.2f} ms of CPU a second",
            "measured, `make bench-curves`",
        ],
        [
            "what an edge adds, p99, with a share *u* of its core in use",
            f"{1000 * edge['p99_base_s']:.2f} + {1000 * edge['p99_slope_s']:.2f} u / (1 - u) ms",
            "fitted to the same table",
        ],
        [
            "the way to a replica and back, with Ray",
            f"{1000 * hop['hop_s']:.1f} ms + {1000 * hop['hop_second_s']:.2f} ms a second of audio",
            "measured, `make bench-cluster`",
        ],
        ["moonshine, one core", batch(measured["model"]["fit"]), "measured, `python -m bench.scale.measure`"],
        ["GPU model", batch(vars(costs.GPU_MODEL)), "**assumed**"],
        [
            "speech",
            "spurts of 1.004 s, pauses of 1.587 s, exponential: 38.5 % talk",
            f"ITU-T P.59 (the bundled reader: {np.mean(speech['on_s']):.1f} s and {np.mean(speech['off_s']):.1f} s)",
        ],
        [
            "sessions",
            f"log-normal, mean {arrivals.SESSION_S:.0f} s, sigma {arrivals.SESSION_SIGMA:g}; Poisson arrivals",
            "**assumed**",
        ],
        ["replica starts", f"13.5 s on CPUs, {questions.GPU_START_S:.0f} s on a GPU", "measured, **assumed**"],
        ["a lost machine is noticed", "after 10 s, by clients and by Ray", "**assumed**"],
        ["a CPU, a GPU", f"${prices.cpu_hour:g}, ${prices.gpu_hour:.2f} an hour", "**assumed**"],
    ]
    return table(["what", "cost", "source"], lines)


def batch(model: Mapping[str, float]) -> str:
    item = f" + {1000 * model['item_s']:.0f} ms an item" if model["item_s"] else ""
    return f"{1000 * model['fixed_s']:.0f} ms a call{item} + {1000 * model['second_s']:.0f} ms a second of audio"


def value(number: float, unit: str) -> str:
    if unit == "ms":
        return ms(number)
    if unit == "%":
        return f"{number:.0f} %"
    return f"{number:.1f} {unit}".replace(" a second", "/s").replace(" items", "")


def validation_table(found: Mapping[str, Any]) -> str:
    """The rows that miss; the picture has all of them. A row without a case of its own belongs to the one above."""
    lines, case = [], ""
    for row in found["validation"]:
        before, _, what = row["what"].rpartition(": ")
        case = before or case
        if not row["holds"]:
            apart = f"{100 * row['deviation']:+.0f} %" + (f": {row['why']}" if row["why"] else "")
            name = f"{case}: {what}" if case else what
            lines.append([name, value(row["measured"], row["unit"]), value(row["simulated"], row["unit"]), apart])
    n_rows = len(found["validation"])
    return (
        f"{sections.where('python -m bench.scale', found['about'])} {n_rows - len(lines)} of {n_rows} rows are within "
        "15 %; these are not:\n\n" + table(["", "measured", "simulated", "apart"], lines)
    )


def sizes_table(found: Mapping[str, Any]) -> str:
    lines = []
    for name, one in found["sizes"].items():
        cost = one["dollars_edges"] + one["dollars_replicas"]
        lines.append(
            [
                name, str(one["edges"]), str(one["replicas"]),
                f"{ms(one['p50_ms'])} / {ms(one['p99_ms'])} / {ms(one['p999_ms'])}",
                percent(one["busy"]), f"{one['mean_batch']:.1f}",
                f"{percent(one['interims_shown'])}, {ms(one['interim_age_ms'])}" if one["counts"]["interims"] else "",
                f"{dollars(cost)}, {percent(one['dollars_edges'] / cost)}",
            ]
        )  # fmt: skip
    first = next(iter(found["sizes"].values()))
    about = found["about"]
    head = [
        "model", "edges", "replicas", "p50 / p99 / p99.9 of finals", "replicas busy", "batch", "interims shown, age",
        "cost an hour, of it edges",
    ]  # fmt: skip
    return (
        f"{about['streams']:,} live streams, {found['minutes']['sizes']:g} simulated minutes, "
        f"{first['finals_per_s']:.0f} finals a second; an edge's core is {percent(first['edge_busy'])} in use.\n\n"
        + table(head, lines)
    )


def hour_text(found: Mapping[str, Any]) -> str:
    one, counts = found["hour"], found["hour"]["counts"]
    return (
        f"{found['minutes']['hour']:g} minutes of the second row with 15 % more replicas ({one['replicas']}):"
        f" {counts['finals']:,} finals, of which {counts['late']:,} came later than 2 s,"
        f" {counts['refused'] + counts['errors']} not at all; p50 {ms(one['p50_ms'])}, p99 {ms(one['p99_ms'])},"
        f" p99.9 {ms(one['p999_ms'])}; {counts['refusals']} refusals."
    )


def faults_table(found: Mapping[str, Any]) -> str:
    lines = []
    for name, one in found["faults"].items():
        counts = one["counts"]
        bad = counts["late"] + counts["refused"] + counts["errors"]
        lines.append(
            [
                name, f"{one['edges']} and {one['replicas']}", ms(one["p99_after_ms"]), ms(one["p99_ms"]),
                f"{one['away_most']:.0f}", f"{counts['cut']}",
                f"{counts['late']} ({100 * counts['late'] / counts['finals']:.2g} %)",
                f"{counts['refused']} and {counts['errors']}", f"{counts['gave_up']}",
            ]
        )  # fmt: skip
        assert bad + counts["answered"] == counts["finals"]
    head = [
        "what happens", "edges and replicas", "p99 in the 2 minutes after", "p99 of all", "streams away",
        "utterances cut",
        "finals later than 2 s", "refused and errors", "clients that gave up",
    ]  # fmt: skip
    return table(head, lines)


def sensitivity_table(found: Mapping[str, Any]) -> str:
    lines = [
        [
            name, ms(one["p50_ms"]), ms(one["p99_ms"]), percent(one["busy"]), f"{one['mean_batch']:.1f}",
            str(one["counts"]["refusals"]),
        ]
        for name, one in found["sensitivity"].items()
    ]  # fmt: skip
    return table(["changed", "p50", "p99", "replicas busy", "batch", "refusals"], lines)


def day_text(found: Mapping[str, Any], prices: costs.Prices) -> str:
    one = found["day"]
    hours = one["samples"]["at_s"][-1] / 3600
    scaled = one["edge_hours"] * prices.edge_cpus * prices.cpu_hour + one["replica_hours"] * prices.gpu_hour
    enough = found["sizes"][questions.BASE]["replicas"] * one["n_streams"] / found["about"]["streams"]
    n_fixed = ceil((1 + questions.MARGIN) * enough)
    fixed = hours * (one["most_edges"] * prices.edge_cpus * prices.cpu_hour + n_fixed * prices.gpu_hour)
    return (
        f"A cell of {one['n_streams']:,} streams over {hours:.0f} hours, {questions.DAY_TARGET:.0f} streams an edge:"
        f" {one['edge_hours']:.0f} edge hours and {one['replica_hours']:.0f} replica hours, {dollars(scaled)}."
        f" {n_fixed} replicas and {one['most_edges']:.0f} edges all the time, enough for the busy hour,"
        f" would cost {dollars(fixed)}."
        f" p99 of all finals: {ms(one['p99_ms'])}; of the worst hour: {ms(np.nanmax(one['p99_by_hour_ms']))};"
        f" refusals: {one['counts']['refusals']}."
    )


def million_table(found: Mapping[str, Any]) -> str:
    one, streams = found["sizes"][questions.BASE], found["about"]["streams"]
    cost = one["dollars_edges"] + one["dollars_replicas"]
    n = round(1_000_000 / streams)
    come = streams / arrivals.SESSION_S
    lines = [
        ["edges, replicas", f"{one['edges']}, {one['replicas']}", f"{n * one['edges']:,}, {n * one['replicas']:,}"],
        ["cost an hour, without spare", dollars(cost), dollars(n * cost)],
        ["finals a second", f"{one['finals_per_s']:,.0f}", f"{n * one['finals_per_s']:,.0f}"],
        ["audio in", f"{streams * 0.256 / 1000:.1f} Gbit/s", f"{n * streams * 0.256 / 1000:,.0f} Gbit/s"],
        ["audio from edges to replicas, float32", *gbit(one, n)],
        ["new connections a second (DNS or anycast, TLS)", f"{come:.0f}", f"{n * come:,.0f}"],
        [
            "Redis of a cell, if limits are shared: requests a second, entries renewed a second",
            f"{2 * come + one['edges'] / REDIS_RENEWAL_S:.0f}, {streams / REDIS_RENEWAL_S:,.0f}",
            "one a cell",
        ],
        [
            "lost with one edge, one zone, one cell",
            f"{percent(1 / one['edges'])}, 33 %, 100 %",
            f"{100 / one['edges'] / n:.2g} %, {100 / 3 / n:.2g} %, {100 / n:.2g} %",
        ],
    ]
    return table(["", "a cell", f"{n} cells"], lines)


def gbit(one: Mapping[str, Any], n: int) -> tuple[str, str]:
    # float32 at 16 kHz; a call of a final or a guess has its speech and the prefix, 2.2 s on average.
    per_s = one["finals_per_s"] * one["counts"]["guesses"] / max(1, one["counts"]["finals"]) * 2.2 * 16_000 * 32 / 1e9
    return f"{per_s:.1f} Gbit/s", f"{n * per_s:,.0f} Gbit/s"
