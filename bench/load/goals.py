"""Compares the results of the load suite with the goals for live streams on a core."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["table"]

CPU_STREAMS = 800
CPU_US = 12.5


class Goal(NamedTuple):
    case: str
    n_streams: int | None
    ratio: float | None
    """To the plain server of the same run; one of the two is enough."""


GOALS = (
    Goal("segmented-20ms-16k-mono", 1300, 7.5),
    Goal("segmented-100ms-16k-mono", 2400, 12.0),
    Goal("segmented-20ms-48k-mono", 1200, None),
    Goal("simple-20ms-16k-mono", None, 3.0),
)


def near(result: dict[str, Any], n_streams: int) -> dict[str, Any] | None:
    """The probe that the generator kept up with whose number is nearest; None: none is within a quarter of it."""
    probes = [probe for probe in result["probes"] if not probe["is_late"] and probe["added"] is not None]
    probes = [probe for probe in probes if abs(probe["n_streams"] - n_streams) <= n_streams / 4]
    return min(probes, key=lambda probe: abs(probe["n_streams"] - n_streams), default=None)


def table(cases: dict[str, dict[str, dict[str, Any]]], names: dict[str, str]) -> list[str]:
    """Lines of a table; none when no case with a goal was measured. `cases`: by name, then by kind of server; `names`:
    what the cases are called.
    """
    rows = []
    for goal in GOALS:
        ours, theirs = (cases.get(goal.case, {}).get(kind) for kind in ("voxgate", "plain"))
        if ours is None:
            continue
        wanted = [] if goal.n_streams is None else [f"{goal.n_streams} streams"]
        wanted += [] if goal.ratio is None else [f"{goal.ratio:g}x"]
        ratio = ours["n_streams"] / theirs["n_streams"] if theirs and theirs["n_streams"] else None
        is_met = (goal.n_streams is not None and ours["n_streams"] >= goal.n_streams) or (
            goal.ratio is not None and ratio is not None and ratio >= goal.ratio
        )
        measured = f"{ours['n_streams']} streams"
        rows.append((names[goal.case], " or ".join(wanted), measured, "" if ratio is None else f"{ratio:.1f}x", is_met))
    main = cases.get(GOALS[0].case, {})
    probe = near(main["voxgate"], CPU_STREAMS) if "voxgate" in main else None
    if probe is not None:
        cost_us = probe["cpu_us_per_message"]
        beside = [found for found in main.get("plain", {}).get("probes", ()) if found["passed"]]
        ratio_text = f"{beside[-1]['cpu_us_per_message'] / cost_us:.1f}x less" if beside else ""
        name = f"CPU of a message, {probe['n_streams']} streams"
        rows.append((name, f"{CPU_US:g} us", f"{cost_us:.1f} us", ratio_text, cost_us <= CPU_US))
    if not rows:
        return []
    lines = ["| | goal | measured | against the plain server | met |", "|---|---|---|---|---|"]
    return lines + [
        f"| {name} | {goal} | {measured} | {ratio} | {'yes' if is_met else 'no'} |"
        for name, goal, measured, ratio, is_met in rows
    ]
