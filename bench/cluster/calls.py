"""What a call costs on threads, in worker processes, on an event loop and on Ray; what one server gets out of N
replicas, and where it saturates; and how soon a second replica is there when the load grows.

    python bench/cluster/calls.py [--seconds 3] [--only cost|throughput|saturation|growth] [--write]

All nodes share the CPUs of this machine: read the ratios, and for throughput and saturation the model sleeps. Prints
Markdown; `--write` puts the tables into docs/performance.md; the chapter of the series has the first and the third.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from parts import PARTS, cpu_s, replica_pids

from clients import ROOT, run_in_own_network
from tools import sections
from tools.ray_nodes import LocalCluster, deploy
from voxgate import Batch, Model
from voxgate.inference.engine.asynchronous import AsyncEngine
from voxgate.inference.engine.base import Engine, Job
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.ray import RayEngine, RaySettings
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.scheduler import Scheduler

BATCHES = ((16, 2.0), (2, 1.0), (1, 0.5))
"""Jobs and seconds of audio of each: 2 MB, 128 KB and 32 KB."""
ADDRESS = "127.0.0.1:6379"
SLEEP_S = 0.1
N_MOST = 64
"""Calls at once: more only wait for the CPUs of this machine."""
PERFORMANCE = ROOT / "docs/performance.md"
CHAPTER = ROOT / "docs/series/11-more-than-one-machine.md"


class Counting(Model):
    """Costs nothing."""

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {"n": len(audio)}

    def infer_batch(self, batch: Batch) -> list[Mapping[str, Any]]:
        return [{"n": len(audio)} for audio in batch]


class AsyncCounting(Counting):
    async def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        return {"n": len(audio)}

    async def infer_batch(self, batch: Batch) -> list[Mapping[str, Any]]:
        return [{"n": len(audio)} for audio in batch]


class Sleeping(Model):
    """A model whose work is done elsewhere, on a GPU."""

    threads = 1

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        time.sleep(SLEEP_S)
        return {"n": len(audio)}


class AsyncSleeping(Model):
    """The same with as many calls at once as a replica takes, so that two processes stand for hundreds of replicas."""

    async def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        await asyncio.sleep(SLEEP_S)
        return {"n": len(audio)}

    async def infer_batch(self, batch: Batch) -> list[Mapping[str, Any]]:
        await asyncio.sleep(SLEEP_S)
        return [{"n": len(audio)} for audio in batch]


def engines() -> dict[str, Callable[[], Engine]]:
    def processes() -> Engine:
        engine = ProcessEngine(ProcessSettings("calls:Counting", processes=1))
        engine.load()
        return engine

    return {
        "threads": lambda: ThreadEngine(Counting(), threads=1),
        "async": lambda: AsyncEngine(AsyncCounting()),
        "process": processes,
        "ray, this node": lambda: on_ray("near"),
        "ray, other node": lambda: on_ray("far"),
    }


def on_ray(app: str, **settings: Any) -> RayEngine:
    engine = RayEngine(RaySettings(app, ADDRESS, **settings))
    engine.load()
    return engine


async def with_scheduler(engine: Engine, use: Callable[[Scheduler], Any], **bounds: Any) -> Any:
    scheduler = Scheduler(engine, asyncio.get_running_loop(), **bounds)
    scheduler.start()
    await scheduler.warm_up()
    try:
        return await use(scheduler)
    finally:
        scheduler.close()
        await scheduler.wait_closed(30)


async def cost(scheduler: Scheduler, n_jobs: int, seconds: float, for_s: float) -> float:
    """The median time of a batch, in seconds, from the loop to the model and back."""
    audio, times_s = np.zeros(round(16_000 * seconds), np.float32), []
    done: asyncio.Queue[Job] = asyncio.Queue()
    end_s = time.perf_counter() + for_s
    while time.perf_counter() < end_s or len(times_s) < 20:
        began_s = time.perf_counter()
        for _ in range(n_jobs):
            scheduler.submit(Job(audio, 16_000, True, object(), done.put_nowait))
        for _ in range(n_jobs):
            job = await done.get()
            assert job.error is None, job.error
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s)


def measure_cost(for_s: float) -> list[str]:
    lines = ["| batch | " + " | ".join(engines()) + " |", "|---" + "|---" * len(engines()) + "|"]
    found = {}
    for name, make in engines().items():

        async def all_sizes(scheduler: Scheduler) -> list[float]:
            return [await cost(scheduler, n_jobs, seconds, for_s) for n_jobs, seconds in BATCHES]

        found[name] = asyncio.run(with_scheduler(make(), all_sizes))
    for index, (n_jobs, seconds) in enumerate(BATCHES):
        row = " | ".join(f"{found[name][index] * 1000:.2g} ms" for name in found)
        size = f"{64 * n_jobs * seconds:.0f} KB"
        lines.append(f"| {n_jobs} x {seconds:g} s ({size}) | {row} |")
    return lines


async def rate(
    scheduler: Scheduler, for_s: float, n_waiting: int, is_over: Callable[[], bool] = lambda: False
) -> float:
    """Calls a second, with so many always waiting or running. None is left at the end."""
    audio, n_done, n_open, done = np.zeros(16_000, np.float32), 0, 0, asyncio.Event()
    end_s = time.perf_counter() + for_s

    def put() -> None:
        nonlocal n_open
        n_open += 1
        scheduler.submit(Job(audio, 16_000, True, object(), ended))

    def ended(job: Job) -> None:
        nonlocal n_done, n_open
        n_open -= 1
        if time.perf_counter() < end_s and not is_over():
            n_done += job.error is None
            put()
        elif not n_open:
            done.set()

    for _ in range(n_waiting):
        put()
    await done.wait()
    return n_done / for_s


def measure_throughput(for_s: float) -> list[str]:
    lines = [f"| replicas that sleep {SLEEP_S * 1000:g} ms a call | calls a second | of the maximum |"]
    lines.append("|---|---|---|")
    for n_replicas in (1, 2, 4, 8):
        deploy("calls:Sleeping", "--app", "sleeping", "--replicas", str(n_replicas), "--cpus", "0.1")
        engine = on_ray("sleeping")
        wait_for_calls(engine, 2 * n_replicas)
        found = asyncio.run(with_scheduler(engine, lambda scheduler: rate(scheduler, for_s, 8 * n_replicas)))  # noqa: B023
        lines.append(f"| {n_replicas} | {found:.1f} | {100 * found * SLEEP_S / n_replicas:.0f} % |")
    return lines


def wait_for_calls(engine: RayEngine, n: int) -> None:
    while engine.concurrency < n:
        time.sleep(0.1)


def measure_saturation(for_s: float) -> list[str]:
    """A server with ever more calls at once. What saturates it is the part whose CPU time for a call, times the rate,
    comes near one core: Python code of a process runs on one at a time.
    """
    each = N_MOST // 2
    deploy("calls:AsyncSleeping", "--app", "many", "--replicas", "2", "--cpus", "0.1", "--calls", str(each))
    parts = " | ".join(PARTS)
    lines = [f"| calls at once, of audio | calls a second | of the maximum | CPU ms a call: {parts} |"]
    lines.append("|---|---|---" + "|---" * len(PARTS) + "|")
    for n_jobs in (1, 16):
        for n_calls in (8, 16, 32, 64):
            engine = on_ray("many", calls=n_calls, max_batch_size=n_jobs)
            wait_for_calls(engine, n_calls)

            async def load(scheduler: Scheduler) -> tuple[float, list[float]]:
                pids = engine.driver_pid, replica_pids("many")  # noqa: B023
                await rate(scheduler, 1.0, n_calls * n_jobs + n_jobs)  # noqa: B023
                before = cpu_s(*pids)
                found = await rate(scheduler, for_s, n_calls * n_jobs + n_jobs)  # noqa: B023
                after = cpu_s(*pids)
                n_done = found * for_s / n_jobs  # noqa: B023
                return n_done / for_s, [1000 * (after[part] - before[part]) / n_done for part in PARTS]

            bounds = {"max_jobs": 1_000_000, "max_seconds": 1e9}
            calls_per_s, costs_ms = asyncio.run(with_scheduler(engine, load, **bounds))
            row = " | ".join(f"{cost_ms:.2g}" for cost_ms in costs_ms)
            share = 100 * calls_per_s * SLEEP_S / n_calls
            lines.append(f"| {n_calls}, {n_jobs} x 1 s | {calls_per_s:.0f} | {share:.0f} % | {row} |")
    return lines


def measure_growth() -> list[str]:
    deploy("calls:Sleeping", "--app", "growing", "--replicas", "1..2", "--cpus", "0.1")
    engine = on_ray("growing")

    async def grow(scheduler: Scheduler) -> float:
        began_s = time.perf_counter()
        loading = asyncio.ensure_future(rate(scheduler, 120.0, 16, lambda: engine.concurrency >= 4))
        while engine.concurrency < 4:
            await asyncio.sleep(0.05)
        took_s = time.perf_counter() - began_s
        await loading
        return took_s

    took_s = asyncio.run(with_scheduler(engine, grow))
    return [f"A second replica answers {took_s:.1f} s after the load begins; `upscale_delay_s` takes 5 s of it."]


def write(found: Mapping[str, list[str]]) -> None:
    """Into the documents. What was not measured stays as it is."""
    import ray

    line = sections.where("make bench-cluster", sections.here(ray=ray.__version__))
    pages = {"cost": (PERFORMANCE, CHAPTER), "saturation": (CHAPTER,)}
    for name, lines in found.items():
        for page in pages.get(name, (PERFORMANCE,)):
            sections.put(page, f"cluster {name}:", "\n".join([line, "", *lines]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", choices=("cost", "throughput", "saturation", "growth"))
    parser.add_argument("--write", action="store_true", help="into the documents")
    args = parser.parse_args()
    run_in_own_network()
    import os

    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, str(ROOT), str(ROOT / "bench")])
    sys.path.insert(0, here)
    parts: dict[str, Callable[[], list[str]]] = {
        "cost": lambda: measure_cost(args.seconds),
        "throughput": lambda: measure_throughput(args.seconds),
        "saturation": lambda: measure_saturation(args.seconds),
        "growth": measure_growth,
    }
    with LocalCluster((2,)) as cluster:
        if args.only in (None, "cost"):
            deploy("calls:Counting", "--app", "near", "--cpus", "2")  # It fills the node of the servers.
        cluster.add(2)
        if args.only in (None, "cost"):
            deploy("calls:Counting", "--app", "far", "--cpus", "1")
        found = {}
        for name, measure in parts.items():
            if args.only in (None, name):
                found[name] = measure()
                print("\n" + "\n".join(found[name]), flush=True)
    if args.write:
        write(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
