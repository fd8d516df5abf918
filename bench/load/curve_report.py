"""What `curves.py` measured, as tables, sentences and a picture; `report.py` puts them into the documents."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import sections
from fits import RISE, knee, line

MARK, TITLE = "cost curves:", "What streams cost"
COLOUR, GREY = "#2563eb", "#9ca3af"
SETTLED = 25  # streams; with fewer, what is allocated once is most of the memory


def ms_of_stream_s(seen: dict[str, Any]) -> float:
    """CPU of a second of a stream."""
    return 1000 * float(seen["server_cores"]) / int(seen["n_streams"])


def added(seen: dict[str, Any]) -> str:
    """A result of an older program has fewer quantiles."""
    found = seen["added"]
    if not found:
        return ""
    names = ("p50", "p99", "p99_9", "max")
    return " / ".join(f"{found[name]:.1f}" for name in names if name in found) + " ms"


def rare(seen: dict[str, Any]) -> str:
    found = seen["added"]
    return f"{found['p99_9']:.1f} / {found['max']:.1f} ms" if "p99_9" in found else ""


def _of(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def told(seen: dict[str, Any]) -> str:
    """A line while it runs."""
    late = ", generator late" if seen["is_late"] else ""
    wrong = f", {seen['n_wrong']} wrong: {'; '.join(seen['problems'])}" if seen["n_wrong"] else ""
    return (
        f"    {seen['n_streams']:5} streams: {ms_of_stream_s(seen):.2f} ms of CPU a stream and second, "
        f"{seen['memory_kib_per_stream']:.0f} KiB, added p50 / p99 / p99.9 / max {added(seen) or 'none'}, "
        f"server {100 * seen['server_cores']:.0f} %{late}{wrong}{'' if seen['borne'] else '  <- too many'}"
    )


def borne(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that count, the last look at each number: of a server that is swamped, nothing is a stream's cost."""
    last = {int(seen["n_streams"]): seen for seen in report["curve"]["points"] if seen["borne"]}
    return [last[n] for n in sorted(last)]


def fits_of(report: dict[str, Any]) -> list[str]:
    """Where the curves are level, where they leave that, and the line through the memory."""
    points = borne(report)
    result = []
    found = knee([seen["n_streams"] for seen in points], [ms_of_stream_s(seen) for seen in points])
    if found is not None:
        few, most = points[0], points[-1]
        ends = most["n_streams"] if found.rises_at is None else f"below {found.rises_at}"
        result.append(
            f"A stream takes at least {found.level:.2f} ms of CPU a second, and at most {100 * RISE:.0f} % more from "
            f"{_of(found.level_from, 'stream')} to {ends}."
        )
        result.append(
            f"The server woke {few['wakeups_per_message']:.2f} times a message with {_of(few['n_streams'], 'stream')}, "
            f"{most['wakeups_per_message']:.2f} times with {most['n_streams']}."
        )
    many = [seen for seen in points if seen["n_streams"] >= SETTLED and not seen["has_shrunk"]]
    numbers = [seen["n_streams"] for seen in many]
    through = line(numbers, [seen["memory_kib_per_stream"] * seen["n_streams"] for seen in many])
    if through is not None:
        result.append(
            f"From {numbers[0]} to {numbers[-1]} streams, each more takes {through.per_stream:.1f} KiB; no point is "
            f"further than {100 * through.worst:.0f} % from that line."
        )
    return result


def _starts(report: dict[str, Any]) -> list[str]:
    rows = [
        f"| {start['name']} | {median(start['seconds']):.2f} s | {start['seconds'][0]:.2f} to "
        f"{start['seconds'][-1]:.2f} s in {_of(len(start['seconds']), 'start')} |"
        for start in report["starts"]
    ]
    return ["", "| from the command to ready | median | |", "|---|---|---|", *rows] if rows else []


def _idle(report: dict[str, Any]) -> list[str]:
    rows = [
        f"| {idle['n']} {idle['name']} | {idle['kib_each']:.1f} KiB | {100 * idle['cores']:.2f} % of a core |"
        for idle in report["idle"]
    ]
    return (
        ["", "| connections that send nothing | memory of one | CPU of all |", "|---|---|---|", *rows] if rows else []
    )


def _curve(report: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "| live streams | CPU of a stream, ms a second | CPU | memory of a stream "
        "| added latency p50 / p99 / p99.9 / max |",
        "|---|---|---|---|---|",
    ]
    for seen in borne(report):
        memory = "" if seen["has_shrunk"] else f"{seen['memory_kib_per_stream']:.0f} KiB"
        lines.append(
            f"| {seen['n_streams']} | {ms_of_stream_s(seen):.2f} "
            f"| {100 * seen['server_cores']:.1f} % | {memory} | {added(seen)} |"
        )
    return lines


def _latency(report: dict[str, Any]) -> list[str]:
    rows = [
        f"| {100 * seen['share']:.0f} % | {seen['n_streams']} | {seen['added']['p50']:.1f} ms "
        f"| {seen['added']['p99']:.1f} ms | {rare(seen)} | {100 * seen['server_cores']:.0f} % | {_remark(seen)} |"
        for seen in report["latency"]
        if seen["added"]
    ]
    head = "| of the capacity | streams | added latency p50 | p99 | p99.9 / max | CPU | |"
    return ["", head, "|---|---|---|---|---|---|---|", *rows] if rows else []


def _workers(report: dict[str, Any]) -> list[str]:
    """At the largest share of the capacity."""
    most = max((float(seen["share"]) for seen in report["workers"]), default=0.0)
    rows = [
        f"| {seen['layout']} | {seen['n_streams']} | {100 * seen['server_cores']:.0f} % "
        f"| {seen['cpu_us_per_message']:.1f} us | {100 * seen['busiest_share']:.0f} % | {added(seen)} "
        f"| {seen['alone_mib']:.0f} MiB | {_remark(seen)} |"
        for seen in report["workers"]
        if float(seen["share"]) == most
    ]
    if not rows:
        return []
    lines = [
        "",
        "| | streams | CPU | of a message | of it the busiest process | added latency p50 / p99 / p99.9 / max "
        "| memory without streams | |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Two processes on one core show what the second costs.",
    ]
    if any("shared with the load" in seen["layout"] for seen in report["workers"]):
        lines[-1] += (
            " On a core each, the second shares its core with the load, which takes "
            f"{_generator(report)} of it: the capacity of two cores needs a third one."
        )
    return lines


def _generator(report: dict[str, Any]) -> str:
    took = [seen["generator_cores"] for seen in report["workers"] if "shared with the load" in seen["layout"]]
    least, most = f"{100 * min(took):.0f}", f"{100 * max(took):.0f}"
    return f"{most} %" if least == most else f"{least} to {most} %"


def _remark(seen: dict[str, Any]) -> str:
    if seen["is_late"]:
        return "the load was late: no measure"
    if seen["n_wrong"]:
        return f"{seen['n_wrong']} streams went wrong"
    return "" if seen["borne"] else "over the limit"


def _capacity(report: dict[str, Any]) -> str:
    curve = report["curve"]
    if not curve["capacity"]:
        return "No number of streams passed"
    if curve["by_generator"]:
        return f"{curve['capacity']} streams or more: beyond them the load was late"
    return f"Capacity: {'' if curve['is_exact'] else 'at least '}{curve['capacity']} streams"


def markdown(report: dict[str, Any]) -> str:
    case = report["case"]
    lines = [
        f"{sections.where('make bench-curves', report)} One core for the server, one for the load; {case['route']} "
        f"route, messages of {case['chunk_ms']} ms, {case['rate'] // 1000} kHz, mono, a model that does nothing. "
        f"{_capacity(report)}, with a p99 of the added latency of at most {report['limits']['added_ms']:g} ms.",
    ]
    if borne(report):
        idle = f"Without a stream the server takes {100 * report['curve']['idle_cores']:.2f} % of a core."
        lines += ["", "![CPU and memory of a stream over the number of streams](images/load-curves.svg)"]
        lines += [*_curve(report), "", " ".join([*fits_of(report), idle])]
    lines += [*_latency(report), *_idle(report), *_starts(report), *_workers(report)]
    if report["failed"]:
        lines += ["", f"Without a result: {'; '.join(report['failed'])}."]
    return "\n".join(lines)


def draw(report: dict[str, Any], images: Path) -> list[Path]:
    """CPU of a stream and memory of a stream, over the number of streams."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "voxgate", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    points = borne(report)
    if not points:
        return []
    numbers = [seen["n_streams"] for seen in points]
    cpu = [ms_of_stream_s(seen) for seen in points]
    grown = [seen for seen in points if not seen["has_shrunk"]]
    memory = [seen["memory_kib_per_stream"] for seen in grown]
    figure, panes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
    for pane, at, values, name in (
        (panes[0], numbers, cpu, "CPU of a stream, ms a second"),
        (panes[1], [seen["n_streams"] for seen in grown], memory, "memory of a stream, KiB"),
    ):
        pane.plot(at, values, "o-", ms=3, lw=1, color=COLOUR)
        pane.set_xscale("log")
        pane.xaxis.set_major_formatter(ticker.ScalarFormatter())
        pane.set_xlabel("live streams")
        pane.set_title(name, fontsize=9)
        pane.set_ylim(0, 1.1 * max(values))
        pane.axvline(report["curve"]["capacity"], color=GREY, lw=0.7, ls=":")
    found = knee(numbers, cpu)
    if found is not None:
        panes[0].axhspan(found.level, (1 + RISE) * found.level, color=GREY, alpha=0.25, lw=0)
    path = images / "load-curves.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return [path]
