"""Chapter 3, the model: what a call does to the event loop and to other calls, in the loop, on threads and in worker
processes; what a warm-up is worth.

    python docs/figures/model.py

The three models below do the same amount of work and differ in one thing: whether Python's lock is free meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import voxgate

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).parents[2]
RATE = 16_000
CALL_S = 0.05
"""What one call of each of the three models takes, alone."""
RUN_S = 0.7
ROUNDS = 2
"""Runs of each kind; that with the most calls counts, as the one that was disturbed least."""
TICK_S = 0.001
PLACES = ("in the loop", "1 thread", "2 threads", "1 process", "2 processes")


class Releases(voxgate.Model):
    """Compiled code that gives the GIL away while it computes, as NumPy, Numba (nogil) and ONNX Runtime do."""

    def __init__(self, n: int = 100) -> None:
        self.n = n
        self._block = bytes(1_000_000)

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        for _ in range(self.n):
            hashlib.sha256(self._block)
        return {"n": self.n}


class Python(voxgate.Model):
    """Plain Python: the interpreter takes turns with other threads every 5 ms."""

    def __init__(self, n: int = 1_000_000) -> None:
        self.n = n

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        total = 0
        for i in range(self.n):
            total += i
        return {"n": total}


class Holds(voxgate.Model):
    """One call into compiled code that keeps the GIL until it returns, as many older C extensions do."""

    holds_gil = True

    def __init__(self, n: int = 3_000_000) -> None:
        self.n = n

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {"n": sum(range(self.n))}


MODELS: tuple[type[Any], ...] = (Releases, Python, Holds)
WORDS = {"Releases": "releases the GIL", "Python": "plain Python", "Holds": "holds the GIL"}


def amounts() -> dict[str, int]:
    """The `n` of each model with which a call takes CALL_S on this machine."""
    found = {}
    for kind in MODELS:
        model = kind()
        took_s = min(_timed(lambda model=model: model.infer(None)) for _ in range(5))
        found[kind.__name__] = max(1, round(model.n * CALL_S / took_s))
    return found


def _timed(function: Callable[[], object]) -> float:
    begin_s = time.thread_time()  # of this thread alone: whatever else the machine does is not counted
    function()
    return time.thread_time() - begin_s


# --- the loop, while the model runs ---


@dataclass
class Run:
    """`RUN_S` seconds of calls, as many at once as there are workers."""

    calls_per_s: float
    late_s: list[tuple[float, float]]
    """When a callback that was due every millisecond came, and by how much too late."""

    @property
    def longest_s(self) -> float:
        return max(late_s for _, late_s in self.late_s)


async def watched(call: Callable[[], Awaitable[Any]], n_at_once: int) -> Run:
    runs = [await watched_once(call, n_at_once) for _ in range(ROUNDS)]
    return max(runs, key=lambda run: run.calls_per_s)


async def watched_once(call: Callable[[], Awaitable[Any]], n_at_once: int) -> Run:
    """Calls again and again, `n_at_once` at a time, and looks how late the loop's timers are meanwhile."""
    loop = asyncio.get_running_loop()
    late_s: list[tuple[float, float]] = []
    began_s = loop.time()
    n_done = 0

    def tick(due_s: float) -> None:
        now_s = loop.time()
        late_s.append((now_s - began_s, now_s - due_s))
        if now_s < began_s + RUN_S:
            loop.call_later(TICK_S, tick, now_s + TICK_S)

    async def again_and_again() -> None:
        nonlocal n_done
        while loop.time() < began_s + RUN_S:
            await call()
            n_done += 1

    loop.call_later(TICK_S, tick, began_s + TICK_S)
    await asyncio.gather(*(again_and_again() for _ in range(n_at_once)))
    took_s = loop.time() - began_s
    await asyncio.sleep(2 * TICK_S)  # the tick that was due during the last call
    return Run(n_done / took_s, late_s)


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.get_loop()


def run(kind: type[Any], place: str, n: int) -> Run:
    import numpy as np
    from test_bench_engines import scheduled

    from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
    from voxgate.inference.engine.threads import ThreadEngine

    audio = np.zeros(RATE, np.float32)
    with event_loop() as loop:
        if place == "in the loop":
            model = kind(n)

            async def in_the_loop() -> None:
                model.infer(audio)
                await asyncio.sleep(0)

            return loop.run_until_complete(watched(in_the_loop, 1))
        n_workers = int(place[0])
        if "thread" in place:
            engine: Any = ThreadEngine(kind(n), threads=n_workers)
        else:
            engine = ProcessEngine(ProcessSettings(f"model:{kind.__name__}", {"n": n}, processes=n_workers))
            engine.load()
        with scheduled(loop, engine) as call:
            return loop.run_until_complete(watched(lambda: call(audio), n_workers))


# --- voxgate models check ---


def check(name: str, **environment: str) -> dict[str, Any]:
    """What `voxgate models check` finds of a model."""
    answer = subprocess.run(
        [sys.executable, "-m", "voxgate", "models", "check", name, "--seconds", "0.2", "--format", "jsonl"],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def ms(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms" if seconds >= 0.0001 else "nothing"


def checks() -> dict[str, dict[str, Any]]:
    """By the names in the table."""
    with tempfile.TemporaryDirectory() as cache:
        found = {
            "`features`, compiled for the first time on this machine": check("features", NUMBA_CACHE_DIR=cache),
            "`features`, its code found on disk": check("features", NUMBA_CACHE_DIR=cache),
        }
    found["`pocketsphinx`"] = check("pocketsphinx")
    return found


def warm_up_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| model | loading | warm-up | first call | a later call |", "|---|---|---|---|---|"]
    for name, one in found.items():
        times = (one["load_s"], one["warm_up_s"], one["first_call_s"], one["speed"]["call_s"])
        lines.append(f"| {name} | " + " | ".join(map(ms, times)) + " |")
    return lines


# --- what comes of it ---

SEEN_S = 0.0005
"""Lateness below this is not drawn."""
SHOWN = (
    ("in the loop", "Releases", "called in the event loop"),
    ("1 thread", "Holds", "on a thread, holds the GIL"),
    ("1 thread", "Python", "on a thread, plain Python"),
    ("1 thread", "Releases", "on a thread, releases the GIL"),
    ("1 process", "Holds", "in a worker process, holds the GIL there"),
)


def draw_lag(runs: Mapping[tuple[str, str], Run]) -> None:
    import plots

    plt = plots.pyplot()
    from matplotlib.collections import PolyCollection

    figure, panes = plt.subplots(len(SHOWN), 1, figsize=plots.size(5.2), sharex=True, sharey=True, layout="constrained")
    for pane, (place, kind, title) in zip(panes, SHOWN, strict=True):
        # A stop of the loop as a ramp: how late it is already, until it comes.
        stops = [(at_s, late_s) for at_s, late_s in runs[kind, place].late_s if late_s > SEEN_S]
        ramps = [[(at_s - late_s, 0), (at_s, 1000 * late_s), (at_s, 0)] for at_s, late_s in stops]
        pane.add_collection(PolyCollection(ramps, facecolors=plots.OURS, edgecolors="none"))
        pane.set_title(title, fontsize=9, loc="left")
        pane.axhline(20, color=plots.WAITS, lw=0.7)
    panes[0].set_xlim(0, RUN_S)
    panes[0].set_ylim(0, 1100 * max(runs[kind, place].longest_s for place, kind, _ in SHOWN))
    panes[len(panes) // 2].set_ylabel("the event loop is late, ms (amber: 20 ms)")
    panes[-1].set_xlabel(f"seconds; calls of {1000 * CALL_S:.0f} ms, one after the other")
    plots.save(figure, "model-lag")


def runs_table(runs: Mapping[tuple[str, str], Run]) -> list[str]:
    lines = [
        "| where the model runs | " + " | ".join(WORDS[kind.__name__] for kind in MODELS) + " |",
        "|---" * (len(MODELS) + 1) + "|",
    ]
    for place in PLACES:
        cells = []
        for kind in MODELS:
            run = runs[kind.__name__, place]
            gain = run.calls_per_s / runs[kind.__name__, "1 thread"].calls_per_s
            cells.append(f"{gain:.2f}x, {ms(run.longest_s)}")
        lines.append(f"| {place} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    logging.disable(logging.WARNING)  # that a model holds the GIL is what is measured
    sys.path += [str(ROOT / "bench"), str(ROOT / "tests"), str(ROOT / "tools"), str(Path(__file__).parent)]
    import sections

    n = amounts()
    runs = {(kind.__name__, place): run(kind, place, n[kind.__name__]) for kind in MODELS for place in PLACES}
    draw_lag(runs)
    tables = {
        "runs": runs_table(runs),
        "warm-up": warm_up_table(checks()),
    }
    page = ROOT / "docs" / "series" / "3-the-model.md"
    for name, lines in tables.items():
        sections.put(page, f"figures: model, {name}", "\n".join(lines))
    where = "The tables and the plot of this chapter are from one run."
    sections.figures("model", page, where, pocketsphinx=metadata.version("pocketsphinx"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
