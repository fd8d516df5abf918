"""What a call costs on threads, in worker processes, on an event loop and on Ray; what one server gets out of N
replicas; and how soon a second replica is there when the load grows.

    python bench/cluster/calls.py [--seconds 3] [--only cost|throughput|growth]

All nodes share the CPUs of this machine: read the ratios, and for the throughput the model sleeps. Prints Markdown.
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

from clients import ROOT, run_in_own_network
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


def measure_cost(for_s: float) -> None:
    print("\n| batch | " + " | ".join(engines()) + " |\n|---" + "|---" * len(engines()) + "|")
    found = {}
    for name, make in engines().items():

        async def all_sizes(scheduler: Scheduler) -> list[float]:
            return [await cost(scheduler, n_jobs, seconds, for_s) for n_jobs, seconds in BATCHES]

        found[name] = asyncio.run(with_scheduler(make(), all_sizes))
    for index, (n_jobs, seconds) in enumerate(BATCHES):
        row = " | ".join(f"{found[name][index] * 1000:.2f} ms" for name in found)
        print(f"| {n_jobs} x {seconds:g} s | {row} |", flush=True)


async def rate(
    scheduler: Scheduler, for_s: float, n_waiting: int, is_over: Callable[[], bool] = lambda: False
) -> float:
    """Calls a second, with so many always waiting or running."""
    audio, n_done, done = np.zeros(16_000, np.float32), 0, asyncio.Event()
    end_s = time.perf_counter() + for_s

    def put() -> None:
        scheduler.submit(Job(audio, 16_000, True, object(), ended))

    def ended(job: Job) -> None:
        nonlocal n_done
        n_done += job.error is None
        if time.perf_counter() < end_s and not is_over():
            put()
        else:
            done.set()

    for _ in range(n_waiting):
        put()
    await done.wait()
    return n_done / for_s


def measure_throughput(for_s: float) -> None:
    print(f"\nA model that sleeps {SLEEP_S * 1000:g} ms, one call at a time in each replica:\n")
    print("| replicas | calls a second | of what they can do |\n|---|---|---|")
    for n_replicas in (1, 2, 4, 8):
        deploy("calls:Sleeping", "--app", "sleeping", "--replicas", str(n_replicas), "--cpus", "0.1")
        engine = on_ray("sleeping")
        while engine.concurrency < 2 * n_replicas:
            time.sleep(0.1)
        found = asyncio.run(with_scheduler(engine, lambda scheduler: rate(scheduler, for_s, 8 * n_replicas)))  # noqa: B023
        print(f"| {n_replicas} | {found:.1f} | {100 * found * SLEEP_S / n_replicas:.0f} % |", flush=True)


def measure_growth() -> None:
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
    print(f"\nA second replica answers {took_s:.1f} s after the load began (upscale_delay_s 5).", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--only", choices=("cost", "throughput", "growth"))
    args = parser.parse_args()
    run_in_own_network()
    import os

    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, str(ROOT), str(ROOT / "bench")])
    sys.path.insert(0, here)
    parts: dict[str, Callable[[], None]] = {
        "cost": lambda: measure_cost(args.seconds),
        "throughput": lambda: measure_throughput(args.seconds),
        "growth": measure_growth,
    }
    with LocalCluster((2,)) as cluster:
        if args.only in (None, "cost"):
            deploy("calls:Counting", "--app", "near", "--cpus", "2")  # It fills the node of the servers.
        cluster.add(2)
        if args.only in (None, "cost"):
            deploy("calls:Counting", "--app", "far", "--cpus", "1")
        for name, measure in parts.items():
            if args.only in (None, name):
                measure()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
