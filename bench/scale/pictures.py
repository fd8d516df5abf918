"""The pictures of docs/scale.md."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import plots


def draw_validation(found: Mapping[str, Any]) -> None:
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=plots.size(3.2), layout="constrained")
    for unit, mark, label in (
        ("ms", "o", "latency, ms"),
        ("%", "s", "in use, %"),
        ("items", "^", "mean batch"),
        ("a second", "D", "calls a second"),
    ):
        rows = [row for row in found["validation"] if row["unit"] == unit]
        axes.plot([r["measured"] for r in rows], [r["simulated"] for r in rows], mark, ms=4, label=label)
    ends = np.array([0.4, 4000.0])
    axes.plot(ends, ends, color=plots.INK, lw=0.8)
    axes.fill_between(ends, 0.85 * ends, 1.15 * ends, color=plots.OUTSIDE, alpha=0.3, lw=0, label="within 15 %")
    axes.set(xscale="log", yscale="log", xlabel="measured", ylabel="simulated", xlim=ends, ylim=ends)
    axes.legend(loc="upper left")
    plots.save(figure, "scale-validation")
    plt.close(figure)


SHOWN = ("a zone, no spare", "a zone, spare for it", "deploy of edges", "deploy of replicas")


def draw_faults(found: Mapping[str, Any]) -> None:
    plt = plots.pyplot()
    figure, panes = plt.subplots(2, 2, figsize=plots.size(4.4), layout="constrained", sharex=True, sharey=True)
    for pane, name in zip(panes.flat, SHOWN, strict=True):
        line = found["faults"][name]["timeline"]
        minutes = np.array(line["at_s"]) / 60
        pane.plot(minutes, line["p99_s"], color=plots.OURS, lw=1.2, label="p99 of finals")
        pane.plot(minutes, line["p50_s"], color=plots.OUTSIDE, lw=1.0, label="p50")
        pane.set(yscale="log", title=name)
        pane.title.set_fontsize(9)
        pane.set_ylim(1e-4, 100)
        away = pane.twinx()
        away.fill_between(np.array(line["sample_s"]) / 60, line["away"], color=plots.WAITS, alpha=0.35, lw=0)
        away.set_ylim(0, max(1000, 1.2 * max(max(found["faults"][of]["timeline"]["away"]) for of in SHOWN)))
        away.grid(visible=False)
        away.set_ylabel("streams away", color=plots.WAITS)
        away.label_outer()
        away.tick_params(axis="y", labelright=pane in panes[:, 1], colors=plots.WAITS)
        if pane not in panes[:, 1]:
            away.set_ylabel("")
    panes[0, 0].legend(loc="upper left")
    for pane in panes[1]:
        pane.set_xlabel("minutes")
    for pane in panes[:, 0]:
        pane.set_ylabel("seconds")
    plots.save(figure, "scale-faults")
    plt.close(figure)


def draw_day(found: Mapping[str, Any]) -> None:
    plt = plots.pyplot()
    figure, (top, bottom) = plt.subplots(2, 1, figsize=plots.size(3.6), layout="constrained", sharex=True)
    samples = found["day"]["samples"]
    hours = np.array(samples["at_s"]) / 3600
    top.plot(hours, samples["live"], color=plots.OURS, lw=1)
    top.set_ylabel("live streams")
    bottom.plot(hours, samples["replicas"], color=plots.WAITS, lw=1, label="replicas", drawstyle="steps-post")
    bottom.plot(hours, samples["edges"], color=plots.OURS, lw=1, label="edges", drawstyle="steps-post")
    bottom.set(xlabel="hour of the day", ylabel="running")
    bottom.legend()
    for pane in (top, bottom):
        pane.set_ylim(bottom=0)
    plots.save(figure, "scale-day")
    plt.close(figure)
