"""An overload as the metrics show it, twice: a model that is too slow, and a model that holds Python's lock.

    python docs/figures/metrics.py

Starts a server with each model, puts live streams on it (few, then many for some seconds, then few again), scrapes
`/metrics` four times a second, and asks of these numbers what docs/series/7-metrics.md asks of Prometheus. Writes
docs/images/metrics-overload.svg, and the table into that page.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "src")]

import plots
import sections
import uvloop
from prometheus_client.parser import text_string_to_metric_families as parse

from voxgate import load, recordings
from voxgate.audio.files.read import read_audio
from voxgate.runtime.tasks import spawn_thread

PAGE = ROOT / "docs/series/7-metrics.md"

FEW, MANY = 6, 40
BEFORE_S, DURING_S, AFTER_S = 5, 9, 8
RAMP_S = 1.5
EVERY_S, WINDOW_S = 0.25, 3.0
RATE, CHUNK_MS, THREADS = 16_000, 20, 4

# Both take a call at a time on each of four threads. The first sleeps, as Python does while a GPU computes. The second
# computes in C without ever letting go of the lock, as many an extension module does.
MODELS = """
import time

SLOW_S = 0.5
GREEDY = range(2_200_000)


def slow(audio):
    time.sleep(SLOW_S)
    return {}


def greedy(audio):
    sum(GREEDY)
    return {}


slow.threads = greedy.threads = 4
"""
SCENARIOS = {
    "slow": "a model that is too slow",
    "greedy": "a model that holds the GIL",
}

Buckets = dict[float, float]


@dataclass
class Scrape:
    """What one look at /metrics said, added up over labels that no question here is about."""

    time_s: float
    values: dict[str, float] = field(default_factory=dict)
    buckets: dict[str, Buckets] = field(default_factory=dict)


def scrape(port: int) -> Scrape:
    now_s = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    looked = Scrape(now_s)
    for family in parse(text):
        for name, labels, value, *_ in family.samples:
            kind = labels.get("stage") or labels.get("lane") or labels.get("reason") or ""
            key = f"{name.removesuffix('_bucket')}{{{kind}}}" if kind else name.removesuffix("_bucket")
            if name.endswith("_bucket"):
                buckets = looked.buckets.setdefault(key, {})
                bound = float(labels["le"])
                buckets[bound] = buckets.get(bound, 0) + value
            else:
                looked.values[key] = looked.values.get(key, 0) + value
    return looked


# What PromQL does with them


def rate(key: str, old: Scrape, new: Scrape) -> float:
    return (new.values.get(key, 0) - old.values.get(key, 0)) / (new.time_s - old.time_s)


def quantile(q: float, key: str, old: Scrape, new: Scrape) -> float:
    """`histogram_quantile(q, rate(key_bucket[window]))`: a straight line within the bucket; nan when nothing came."""
    before = old.buckets.get(key, {})
    grown = [(bound, n - before.get(bound, 0)) for bound, n in sorted(new.buckets.get(key, {}).items())]
    if not grown or not grown[-1][1]:
        return float("nan")
    rank, low, n_below = q * grown[-1][1], 0.0, 0.0
    for bound, n in grown:
        if n >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - n_below) / max(n - n_below, 1e-9)
        low, n_below = bound, n
    raise AssertionError("the last bucket holds all")


def mean(key: str, old: Scrape, new: Scrape) -> float:
    n = rate(_part(key, "count"), old, new)
    return rate(_part(key, "sum"), old, new) / n if n else float("nan")


def _part(key: str, part: str) -> str:
    name, brace, rest = key.partition("{")
    return f"{name}_{part}{brace}{rest}"


# The run


@contextmanager
def server(model: str, folder: Path) -> Iterator[tuple[int, Path]]:
    """Its port, and where its log is."""
    (folder / "overloaded.py").write_text(MODELS)
    log = folder / f"{model}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOXGATE_", "OTEL_"))}
    paths = [str(folder), str(ROOT / "src")]
    command = [sys.executable, "-m", "voxgate", "serve", "--model", f"overloaded:{model}", "--port", "0"]
    with log.open("w") as log_file:
        process = subprocess.Popen(
            [*command, "--drain", "0", "--set", "metrics.max_age_s=0"],
            stdout=subprocess.PIPE,
            stderr=log_file,
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            text=True,
        )
        assert process.stdout is not None
        try:
            found = re.search(r":(\d+)\s*$", process.stdout.readline())
            assert found is not None, log.read_text()
            yield int(found[1]), log
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


@dataclass
class Run:
    scrapes: list[Scrape]
    phases_s: dict[str, tuple[float, float]]
    log: str

    def window(self, until_s: float, length_s: float = WINDOW_S) -> tuple[Scrape, Scrape]:
        """The scrapes at both ends of the window that ends then."""
        new = max((s for s in self.scrapes if s.time_s <= until_s), key=lambda s: s.time_s)
        olds = [s for s in self.scrapes if s.time_s <= new.time_s - length_s]
        return (olds[-1] if olds else self.scrapes[0]), new


def watch(port: int, scrapes: list[Scrape], over: threading.Event) -> None:
    while not over.is_set():
        scrapes.append(scrape(port))
        over.wait(EVERY_S)


async def put_load(port: int) -> dict[str, tuple[float, float]]:
    planes, from_rate = read_audio(recordings.path("demo"))
    material = load.make_material(planes, from_rate, RATE, 1, "s16", CHUNK_MS)
    target = load.Target.of(f"localhost:{port}", "segmented", None)

    def streams(seconds: float) -> load.Generator:
        plan = load.Plan(target, material, round(1000 * seconds / CHUNK_MS), [], 4)
        return load.Generator(plan, time.perf_counter)

    few, many = streams(BEFORE_S + DURING_S + AFTER_S), streams(DURING_S)
    began_s = time.perf_counter()

    async def until(when_s: float) -> None:
        await asyncio.sleep(max(0.0, began_s + when_s - time.perf_counter()))

    for generator, n_streams, begins_s in ((few, FEW, 0), (many, MANY - FEW, BEFORE_S)):
        generator.start()
        for number in range(n_streams):
            await until(begins_s + RAMP_S * number / n_streams)
            generator.add()
    for second in range(3, DURING_S):  # people who come when it is too late
        await until(BEFORE_S + second)
        many.add()
    await until(BEFORE_S + DURING_S + AFTER_S)
    few.stop()
    many.stop()
    ends_s = [0, BEFORE_S, BEFORE_S + DURING_S, BEFORE_S + DURING_S + AFTER_S]
    names = ("before", "during", "after")
    return {name: (began_s + ends_s[i], began_s + ends_s[i + 1]) for i, name in enumerate(names)}


def measure(model: str, folder: Path) -> Run:
    scrapes: list[Scrape] = []
    over = threading.Event()
    with server(model, folder) as (port, log):
        watcher = spawn_thread(lambda: watch(port, scrapes, over), "watcher")
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                phases_s = runner.run(put_load(port))
        finally:
            over.set()
            watcher.join()
        times_s = [each.time_s for each in scrapes] + [phases_s["after"][1]]
        longest_s = max(later - sooner for sooner, later in itertools.pairwise(times_s))
        if longest_s > WINDOW_S:
            raise SystemExit(
                f"{model}: for {longest_s:.1f} s nobody answered at /metrics: the machine is too busy for this"
            )
        return Run(scrapes, phases_s, log.read_text())


# What is asked of it


def answers(old: Scrape, new: Scrape) -> dict[str, float]:
    """The five questions of the page."""
    return {
        "final": quantile(0.95, "voxgate_final_seconds", old, new),
        "queue": quantile(0.95, "voxgate_queue_wait_seconds{final}", old, new),
        "busy": rate(_part("voxgate_stage_seconds{model}", "sum"), old, new) / THREADS,
        "lag": quantile(0.99, "voxgate_loop_lag_seconds", old, new),
        "loop": rate("voxgate_loop_busy_seconds_total", old, new),
        "received": rate("voxgate_audio_received_seconds_total", old, new),
        "processed": rate("voxgate_audio_processed_seconds_total", old, new),
        "refused": new.values.get("voxgate_rejected_total{queue_wait}", 0)
        - old.values.get("voxgate_rejected_total{queue_wait}", 0),
        "factor": mean("voxgate_real_time_factor{model}", old, new),
        "pending": rate("voxgate_audio_pending_seconds", old, new),
        "streams": new.values["voxgate_streams_active"],
    }


LINES = (
    (
        ("streams", "streams open", plots.OUTSIDE),
        ("received", "audio in, s a second", plots.OURS),
        ("processed", "audio done with, s a second", plots.WAITS),
    ),
    (
        ("final", "end of speech to final, p95, s", plots.OURS),
        ("queue", "of it, waiting for the model, p95, s", plots.WAITS),
    ),
    (
        ("factor", "real-time factor of the model, mean", plots.OURS),
        ("busy", "share of its threads in use", plots.OUTSIDE),
    ),
    (("lag", "lag of the event loop, p99, s", plots.WAITS),),
)


def draw(runs: dict[str, Run]) -> None:
    figure, axes = plots.pyplot().subplots(
        len(LINES), 2, figsize=plots.size(7.2), sharex=True, sharey="row", layout="constrained"
    )
    for column, (model, run) in enumerate(runs.items()):
        began_s = run.phases_s["before"][0]
        looked = [s for s in run.scrapes if s.time_s > began_s + 1]
        points = [answers(*run.window(s.time_s)) for s in looked]
        times = [s.time_s - began_s for s in looked]
        for row, lines in enumerate(LINES):
            of_row = axes[row, column]
            for key, label, colour in lines:
                of_row.plot(times, [point[key] for point in points], color=colour, label=label, linewidth=1.6)
            of_row.axvspan(*(edge - began_s for edge in run.phases_s["during"]), color="#fef3c7", zorder=0, linewidth=0)
            if row:
                of_row.set_yscale("log")
            if not column:
                legend = of_row.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, borderaxespad=0.2)
                legend.set_in_layout(False)  # it may reach over both columns
                of_row.set_title(" ", fontsize=8)
        axes[0, column].set_title(SCENARIOS[model], fontsize=9, fontweight="bold", pad=22)
        axes[-1, column].set_xlabel("seconds")
    axes[2, 0].set_ylim(0.01, 1.3)
    plots.save(figure, "metrics-overload")


def seconds(value: float) -> str:
    if value != value:
        return "none"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def table(runs: dict[str, Run]) -> list[str]:
    rows = {
        "1. end of speech to final, p95": lambda of: seconds(of["final"]),
        "2. of it, waiting for the model, p95": lambda of: seconds(of["queue"]),
        "3. share of the model's threads in use": lambda of: f"{100 * of['busy']:.0f} %",
        "4. lag of the event loop, p99": lambda of: seconds(of["lag"]),
        "5. growth of pending audio, a second": lambda of: f"{of['pending']:+.1f} s",
        "new streams refused (`queue_wait`)": lambda of: f"{of['refused']:.0f}",
        "real-time factor of the model, mean": lambda of: f"{of['factor']:.3f}",
    }
    looks = {
        (model, phase): answers(*run.window(end_s, 4.0))
        for model, run in runs.items()
        for phase, (_, end_s) in run.phases_s.items()
    }
    names = {"slow": "slow model", "greedy": "holds the GIL"}
    head = [f"{names[model]}: {phase}" for model, phase in looks]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(show(of) for of in looks.values()) + " |" for row, show in rows.items()]
    return lines


def warning(run: Run) -> str:
    """What the watchdog said about it: where it names the model, if it does."""
    lines = [json.loads(line) for line in run.log.splitlines() if line.startswith("{")]
    said = [line["message"].splitlines()[0] for line in lines if line["logger"] == "voxgate.runtime.watchdog"]
    said.sort(key=lambda text: ("held the GIL" not in text, "has been held" not in text))
    return f"`{said[0].rstrip(':')}`" if said else "nothing: on this machine the holds were too short"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = {model: measure(model, Path(folder)) for model in SCENARIOS}
    draw(runs)
    said = ["", f"The watchdog of the second server logged: {warning(runs['greedy'])}."]
    sections.figures("metrics", PAGE, "\n".join([*table(runs), *said]))


if __name__ == "__main__":
    main()
