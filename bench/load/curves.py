"""What streams cost, from one to as many as a core bears: CPU, memory, latency; and what a server costs without them.

    python bench/load/curves.py [--quick] [--out build/curves.json] [--set KEY=VALUE]

Voxgate has one core, this program another; segmented route, messages of 20 ms, 16 kHz, mono, a model that does nothing.
Measured are the start until ready, memory and CPU of connections that send nothing, CPU and memory of a stream over the
number of streams, the added latency at shares of the capacity found, and two server processes beside one. A full run
takes about nine minutes, at most twelve. `python bench/load/report.py build/curves.json` makes tables and a picture.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import os
import resource
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parent))

from curve_report import fits_of, told
from idle import connect_idle
from search import LEAST_ANSWERS, RECOVER_S, Limits, Population, Probe, prepare
from servers import SETTINGS, Server, pin, running

from voxgate import load, recordings
from voxgate.audio.files.read import read_audio
from voxgate.load.report import commit, machine, versions

T = TypeVar("T")

ROUTE, CHUNK_MS, RATE, CHANNELS = "segmented", 20, 16_000, 1
ROUND_S = 12.5  # once through the recording: speech and silence in the shares that they have
FEW = 10  # streams: with so few, what part of the recording they play is seen in what they cost
READY_S = 30.0
MOST = 4000
AGAIN = 2
CURVE_SHARE = 0.7  # of the time: by then the curve ends, wherever it is
# dummy's first call pretends to take ten seconds; what is asked here is what the server takes.
AT_ONCE = ("model.delay=0", "model.constant_factor=0", "model.jitter=0")
# Connections that send nothing, or do not even start, are to stay.
PATIENT = ("limits.start_timeout_s=3600", "limits.idle_timeout_s=3600")


@dataclass(frozen=True)
class Effort:
    numbers: tuple[int, ...]
    step: int
    """From the last of them on."""
    most: int
    window_s: float
    long_window_s: float
    """Of few streams, and for the latency at shares of the capacity."""
    shares: tuple[float, ...]
    n_idle: int
    starts: int
    worker_shares: tuple[float, ...]
    time_s: float
    """After this a part that has not begun is left out."""


FULL = Effort(
    (1, 2, 5, 10, 25, 50, 100, 200, 400), 200, MOST, 5.0, ROUND_S, (0.2, 0.5, 0.8, 0.95), 500, 5, (0.5, 0.8), 600.0
)
QUICK = Effort((1, 5, 25), 50, 75, 2.0, 3.0, (0.5, 0.95), 50, 1, (0.5,), 240.0)


class Failed(Exception):
    """A part could not be measured; why."""


class Watched(Population):
    """Counts also how often the server went to sleep between the two looks of a probe: once for each time it woke.
    Memory is that beyond `fresh`, a server that nobody has spoken to.
    """

    def __init__(self, plan: load.Plan, pid: int, fresh: load.Cost) -> None:
        self.pid = pid
        self.sleeps: list[int] = []
        super().__init__(plan, pid)
        self._idle = fresh

    def cost(self) -> load.Cost:
        self.sleeps.append(sleeps_of(self.pid))
        return super().cost()


def sleeps_of(pid: int) -> int:
    """Of its main thread, which has the event loop."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def held_mib(pids: tuple[int, ...]) -> float:
    """Memory of processes, what they share counted once."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return round(sum(int(text.partition("\nPss:")[2].split()[0]) for text in rollups) / 1024, 1)


def bears(probe: Probe, limits: Limits) -> bool:
    """Few streams give too few answers for a quantile: then it is enough that none is wrong."""
    few = probe.added is None or probe.added.n < LEAST_ANSWERS
    return probe.passed or (few and not probe.is_late and not probe.n_wrong)


def point(probe: Probe, population: Watched, limits: Limits) -> dict[str, Any]:
    slept = population.sleeps[-1] - population.sleeps[-2]
    messages = probe.n_streams * probe.seconds * 1000 / CHUNK_MS
    return {
        **msgspec.to_builtins(probe),
        "borne": bears(probe, limits),
        "wakeups_per_message": round(slept / messages, 3),
    }


async def climb(
    look: Callable[[int], Awaitable[dict[str, Any]]],
    recover: Callable[[int], Awaitable[None]],
    effort: Effort,
    is_over: Callable[[], bool],
) -> tuple[int, bool]:
    """From one stream to the most that are borne, and whether that was found to 5 %. A number that failed with a core
    that had time left is looked at again, twice at most: something else had happened.
    """
    borne, failed = 0, None
    number, rest = effort.numbers[0], list(effort.numbers[1:])
    n_again = 0
    while not is_over():
        seen = await look(number)
        if not seen["borne"] and seen["server_cores"] < 0.8 and n_again < AGAIN:
            n_again += 1
            await recover(borne)
            continue
        n_again = 0
        if seen["borne"]:
            borne = number
        else:
            failed = number
            await recover(borne)
        if failed is not None:
            if failed - borne <= max(1.0, 0.05 * failed):
                return borne, True
            number = (borne + failed) // 2
        elif rest:
            number = rest.pop(0)
        elif number >= effort.most:
            break
        else:
            number = min(effort.most, number + effort.step)
    return borne, False


class Bench:
    def __init__(self, effort: Effort, limits: Limits, cpus: list[int], settings: tuple[str, ...]) -> None:
        self.effort, self.limits, self.settings = effort, limits, settings
        self.server_cpu, self.our_cpu = cpus[:2]
        self.second_cpu = cpus[2] if len(cpus) > 2 else self.our_cpu
        planes, from_rate = read_audio(recordings.path("demo"))
        self.material = load.make_material(planes, from_rate, RATE, CHANNELS, "s16", CHUNK_MS)
        self.began_s = time.monotonic()

    def passed_s(self) -> float:
        return time.monotonic() - self.began_s

    # Without streams

    def starts(self) -> list[dict[str, Any]]:
        """From the command to `ready`, on one core. The first start of all warms the kernel's cache of files, and is
        not counted.
        """
        result = []
        with tempfile.TemporaryDirectory() as kept:
            self._start("features", kept)
            for name, model, is_cached in (
                ("dummy without its delays", "dummy", True),
                ("features, compiled code cached", "features", True),
                ("features, nothing cached", "features", False),
            ):
                seconds = []
                for _ in range(self.effort.starts):
                    with tempfile.TemporaryDirectory() as empty:
                        seconds.append(self._start(model, kept if is_cached else empty))
                result.append({"name": name, "seconds": sorted(round(value, 3) for value in seconds)})
                print(f"    {name}: {', '.join(f'{value:.2f}' for value in sorted(seconds))} s", flush=True)
        return result

    def _start(self, model: str, numba_cache: str) -> float:
        began_s = time.perf_counter()
        settings = (*AT_ONCE, *self.settings) if model == "dummy" else self.settings
        variables = {"NUMBA_CACHE_DIR": numba_cache}
        with running("voxgate", self.server_cpu, settings, model, variables) as server:
            until_s = time.perf_counter() + READY_S
            while time.perf_counter() < until_s:
                with contextlib.suppress(urllib.error.HTTPError):  # 503: not yet
                    urllib.request.urlopen(f"http://{server.address}/api/v1/ready", timeout=READY_S).close()
                    return time.perf_counter() - began_s
                time.sleep(0.005)
        raise Failed(f"{model} was not ready within {READY_S:g} s")

    def idle(self) -> list[dict[str, Any]]:
        """Connections that only stand, and such as have started and send no audio: a server for each kind."""
        result = []
        for is_started in (False, True):
            with self._server(*PATIENT) as (server, runner):
                result.append(runner.run(self._idle(server, is_started)))
            seen = result[-1]
            cpu = f"{100 * seen['cores']:.2f} % of a core"
            print(f"    {seen['n']} {seen['name']}: {seen['kib_each']:.1f} KiB each, {cpu}", flush=True)
        return result

    async def _idle(self, server: Server, is_started: bool) -> dict[str, Any]:
        target = load.Target.of(server.address, ROUTE, None)
        start = self.material.start_frame(False, False, None) if is_started else None
        # What is allocated once, for the first, is not a connection's.
        for connection in await connect_idle(target, start, 10):
            connection.abort("warm-up")
        await asyncio.sleep(1)
        before = load.from_pid(server.pid)
        connections = await connect_idle(target, start, self.effort.n_idle)
        await asyncio.sleep(2)
        first, began_s = load.from_pid(server.pid), time.perf_counter()
        await asyncio.sleep(self.effort.window_s)
        last, seconds = load.from_pid(server.pid), time.perf_counter() - began_s
        lost = [connection.failure or str(connection.close_code) for connection in connections if connection.is_over]
        if lost:
            raise Failed(f"{len(lost)} idle connections were closed: {lost[0]}")
        for connection in connections:
            connection.abort("done")
        return {
            "name": "started, no audio" if is_started else "connected only",
            "n": len(connections),
            "kib_each": round((last.memory_bytes - before.memory_bytes) / len(connections) / 1024, 1),
            "cores": round((last.cpu_s - first.cpu_s) / seconds, 5),
        }

    # With them

    def curve(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The curve with its capacity, and the latency at shares of it."""
        with self._server() as (server, runner):
            return runner.run(self._curve(server))

    async def _curve(self, server: Server) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        effort = self.effort
        fresh, began_s = load.from_pid(server.pid), time.perf_counter()
        await asyncio.sleep(effort.window_s)
        idle_cores = (load.from_pid(server.pid).cpu_s - fresh.cpu_s) / (time.perf_counter() - began_s)
        population = Watched(await self._plan(server), server.pid, fresh)
        points: list[dict[str, Any]] = []

        async def look(n_streams: int, window_s: float | None = None) -> dict[str, Any]:
            window_s = window_s or (effort.long_window_s if n_streams <= FEW else effort.window_s)
            seen = point(await population.probe(n_streams, window_s, self.limits), population, self.limits)
            print(told(seen), flush=True)
            return seen

        async def look_and_keep(n_streams: int) -> dict[str, Any]:
            # What a process has once held it keeps for a while: behind a larger number the memory is that one's.
            has_shrunk = any(seen["n_streams"] > n_streams for seen in points)
            points.append({**await look(n_streams), "has_shrunk": has_shrunk})
            return points[-1]

        async def recover(n_streams: int) -> None:
            await population.resize(n_streams // 2)
            await population.wait(RECOVER_S)

        with load.no_garbage_collection():
            population.start()
            try:
                capacity, is_exact = await climb(
                    look_and_keep, recover, effort, lambda: self.passed_s() > CURVE_SHARE * effort.time_s
                )
                latency = []
                for share in effort.shares:
                    if capacity and self.passed_s() < effort.time_s:
                        seen = await look(max(1, round(share * capacity)), effort.long_window_s)
                        latency.append({"share": share, **seen})
            finally:
                population.stop()
        curve = {
            "capacity": capacity,
            "is_exact": is_exact,
            "by_generator": any(seen["is_late"] for seen in points if seen["n_streams"] > capacity),
            "idle_cores": round(idle_cores, 5),
            "points": sorted(points, key=lambda seen: int(seen["n_streams"])),
        }
        return curve, latency

    def workers(self, capacity: int) -> list[dict[str, Any]]:
        """One process and two, at the same numbers of streams: the two on the one core of the one, which shows what
        the second process costs, and on a core each. Where there are but two cores, the second is that of the load.
        """
        one, other = self.server_cpu, self.second_cpu
        shared = " (shared with the load)" if other == self.our_cpu else ""
        layouts = (
            ("one process", (one,)),
            ("two processes, one core", (one, one)),
            (f"two processes, a core each{shared}", (one, other)),
        )
        result = []
        for name, cpus in layouts:
            print(f"  {name}", flush=True)
            settings = (f"server.workers={len(cpus)}",) if len(cpus) > 1 else ()
            with self._server(*settings) as (server, runner):
                pids = server.serving()
                if len(pids) != len(cpus):
                    raise Failed(f"{len(pids)} server processes, and {len(cpus)} were asked for")
                for pid, cpu in zip(pids, cpus, strict=True):
                    pin(pid, cpu)
                result += runner.run(self._workers(server, pids, name, capacity))
        return result

    async def _workers(self, server: Server, pids: tuple[int, ...], name: str, capacity: int) -> list[dict[str, Any]]:
        plan = await self._plan(server)
        everything = {server.pid, *pids}
        alone_mib = held_mib(tuple(everything))
        population = Population(plan, *pids)
        result = []
        with load.no_garbage_collection():
            population.start()
            try:
                for share in self.effort.worker_shares:
                    n_streams = max(1, round(share * capacity))
                    await population.resize(n_streams)
                    before = [load.from_pid(pid).cpu_s for pid in pids]
                    probe = await population.probe(n_streams, self.effort.window_s, self.limits)
                    took = [load.from_pid(pid).cpu_s - cpu_s for pid, cpu_s in zip(pids, before, strict=True)]
                    seen = {**msgspec.to_builtins(probe), "borne": bears(probe, self.limits)}
                    print(told(seen), flush=True)
                    result.append(
                        {
                            "layout": name,
                            "share": share,
                            **seen,
                            "alone_mib": alone_mib,
                            "busiest_share": round(max(took) / sum(took), 3),
                        }
                    )
            finally:
                population.stop()
        return result

    @contextlib.contextmanager
    def _server(self, *settings: str) -> Iterator[tuple[Server, asyncio.Runner]]:
        with (
            running("voxgate", self.server_cpu, (*self.settings, *settings)) as server,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            yield server, runner

    async def _plan(self, server: Server) -> load.Plan:
        target = load.Target.of(server.address, ROUTE, None)
        for _ in range(2):
            with contextlib.suppress(load.ReferenceFailed):
                return await prepare(target, self.material, ROUTE)
        return await prepare(target, self.material, ROUTE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few streams, short: does everything work?")
    parser.add_argument("--out", default="build/curves.json", metavar="FILE")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a setting of the server")
    parser.add_argument("--late-ms", type=float, default=load.LATE_MS, help="p99 of our own lateness (%(default)g)")
    args = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("this needs two CPUs: one for the server, one for the load", file=sys.stderr)
        return 2
    effort, limits = QUICK if args.quick else FULL, Limits(late_ms=args.late_ms)
    bench = Bench(effort, limits, cpus, tuple(args.set))
    os.sched_setaffinity(0, {bench.our_cpu})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    failed: list[str] = []

    def part(name: str, run: Callable[[], T], otherwise: T) -> T:
        if bench.passed_s() > effort.time_s:
            failed.append(f"{name}: no time was left")
            return otherwise
        print(f"{name}, after {bench.passed_s():.0f} s", flush=True)
        try:
            return run()
        except (Failed, load.ReferenceFailed, OSError, SystemExit) as error:  # SystemExit: a server did not start
            failed.append(f"{name}: {error}")
            print(f"    {error}", flush=True)
            return otherwise

    starts = part("start until ready", bench.starts, [])
    idle = part("idle connections", bench.idle, [])
    curve, latency = part("the curve", bench.curve, ({"capacity": 0, "points": []}, []))
    workers: list[dict[str, Any]] = []
    if curve["capacity"]:
        workers = part("two processes", lambda: bench.workers(curve["capacity"]), [])
    report = {
        "schema": 1,
        "kind": "curves",
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "command": "python bench/load/curves.py " + " ".join(sys.argv[1:]),
        "quick": args.quick,
        "limits": vars(limits),
        "settings": [*SETTINGS, *args.set],
        "seconds": round(bench.passed_s()),
        "load_average": os.getloadavg(),
        "case": {"route": ROUTE, "chunk_ms": CHUNK_MS, "rate": RATE, "channels": CHANNELS},
        "starts": starts,
        "idle": idle,
        "curve": curve,
        "latency": latency,
        "workers": workers,
        "failed": failed,
    }
    print("\n".join(fits_of(report)))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    Path(args.out).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    print(f"{args.out}, {report['seconds']} s")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
