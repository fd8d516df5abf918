"""N live streams at once on one server: does every stream get all its results, in order, and how long was the event
loop held?

    python bench/many_streams.py [--streams 100] [--model dummy] [--set model.delay=0.5] [--seconds 12.5]

The server runs in a process of its own, the streams in this one: the bundled speech at live pace, 20 ms messages,
starts spread over a second. Prints a Markdown table; exit code 1 when a result is missing, late in order, or wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import multiprocessing.connection
import os
import resource
import time
from typing import Any

from voxgate.client import stream
from voxgate.protocol.events import Error, Inactive, Segment
from voxgate.recordings import path

TICK_S = 0.001


def serve(overrides: dict[str, Any], pipe: multiprocessing.connection.Connection) -> None:
    """The server, with a clock on its loop: a callback every millisecond notes by how much it came late."""
    import uvloop

    from voxgate.config import load_config
    from voxgate.server.server import Server
    from voxgate.server.sockets import listen
    from voxgate.service.service import Service

    config = load_config(environ={}, overrides={"server.port": 0, **overrides})
    service = Service(config)
    late_s: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def started(error: BaseException | None) -> None:
            pipe.send(error or sock.getsockname()[1])
            loop.call_later(TICK_S, tick, loop.time() + TICK_S)

        def tick(due_s: float) -> None:
            now_s = loop.time()
            late_s.append(now_s - due_s)
            loop.call_later(TICK_S, tick, now_s + TICK_S)

        with listen(config.server) as sock:
            server = Server(service, started)
            serving = asyncio.ensure_future(server.serve(sockets=[sock]))
            await loop.run_in_executor(None, pipe.recv)
            server.ask_to_end()
            await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    late_s.sort()
    pipe.send(
        {
            "max_ms": late_s[-1] * 1000,
            "p99_ms": late_s[len(late_s) * 99 // 100] * 1000,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_mib": usage.ru_maxrss / 1024,
        }
    )


async def one(number: int, port: int, n_streams: int, route: str) -> dict[str, Any]:
    await asyncio.sleep(number / n_streams)
    ends, n_inactive, n_errors, waits_s = [], 0, 0, []
    inactive_at_s: dict[float, float] = {}  # by the end of the utterance: the next may be over before its final comes
    address = f"ws://127.0.0.1:{port}/api/v1/{route}"
    async for event in stream(path("demo"), addr=address, chunk_size=640, real_time=True):
        if isinstance(event, Segment):
            ends.append(event.end_time)
            waits_s.append(time.monotonic() - inactive_at_s.get(event.end_time, 0.0))
        elif isinstance(event, Inactive):
            n_inactive += 1
            inactive_at_s[event.time] = time.monotonic()
        elif isinstance(event, Error):
            n_errors += 1
    complete = len(ends) == n_inactive > 0 if route == "segmented" else ends[-1] == 12.5
    return {"complete": complete and n_errors == 0, "ordered": ends == sorted(ends), "results": len(ends)}


async def streams(n_streams: int, port: int, route: str) -> list[dict[str, Any]]:
    return await asyncio.gather(*(one(number, port, n_streams, route) for number in range(n_streams)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--model", default="dummy")
    parser.add_argument("--route", default="segmented", choices=("segmented", "simple"))
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[])
    args = parser.parse_args()
    overrides: dict[str, Any] = {"model": args.model}
    if args.model == "dummy":
        overrides |= {"model.panic_rate": 0.0, "model.warmup_penalty": 0.0}
    overrides |= dict(text.split("=", 1) for text in args.set)

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(overrides, theirs))
    process.start()
    port = ours.recv()
    if isinstance(port, BaseException):
        raise port
    began_s = time.monotonic()
    outcomes = asyncio.run(streams(args.streams, port, args.route))
    took_s = time.monotonic() - began_s
    ours.send("stop")
    server = ours.recv()
    process.join()

    complete, ordered = (sum(outcome[what] for outcome in outcomes) for what in ("complete", "ordered"))
    row = {
        "streams": args.streams,
        "route": args.route,
        "model": args.model,
        "all results": complete,
        "in order": ordered,
        "results": sum(outcome["results"] for outcome in outcomes),
        "loop held, max": f"{server['max_ms']:.1f} ms",
        "loop held, p99": f"{server['p99_ms']:.1f} ms",
        "server CPU": f"{100 * server['cpu_s'] / took_s:.0f} % of a core",
        "peak memory": f"{server['peak_mib']:.0f} MiB",
    }
    print("| " + " | ".join(row) + " |\n" + "|---" * len(row) + "|")
    print("| " + " | ".join(map(str, row.values())) + " |")
    print(f"\n{os.cpu_count()} CPUs, {took_s:.1f} s, settings: {overrides}")
    return 0 if complete == ordered == args.streams else 1


if __name__ == "__main__":
    raise SystemExit(main())
