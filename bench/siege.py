"""A real server under siege: thousands of bad connections, what is left of them, and what each kind costs at most.

    python bench/siege.py                        10 000 connections, then the table of costs
    python bench/siege.py --connections 1000 --kinds ping_flood tiny_fragments

Exit code 1 when something did not come back: streams, tasks, threads, descriptors, memory; or when a well-behaved
stream beside it got other events than alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))  # the hostile clients are those of the tests

from server_process import ServerProcess

from helpers.grpc_client import stream as grpc_stream
from helpers.raw import Raw
from helpers.wire import start
from hostile.kinds import KINDS
from hostile.siege import Neighbour, besiege

# Deadlines an order shorter than the defaults, so that the end need not be waited for long; limits as they are.
DEADLINES = {
    "limits.handshake_timeout_s": 3,
    "limits.message_timeout_s": 3,
    "limits.start_timeout_s": 3,
    "limits.idle_timeout_s": 5,
    "server.send_timeout_s": 3,
}
MODEL = {
    "grpc.port": 0,
    "model": "dummy",
    "model.delay": 0.0,
    "model.constant_factor": 0.0,
    "model.jitter": 0.0,
    "model.panic_rate": 0.0,
    "model.warmup_penalty": 0.0,
}
SETTLE_S = 60
# glibc gives large blocks back to the system only up to a size that grows with every block that was freed. Held fixed,
# as docs/operations.md recommends, what is left over is what is held, and can be told from a leak.
# Nor does it give back what is free between blocks in use, in each of the arenas that the threads of the gRPC library
# share: with one, this is a few MiB and stays so.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
# What an allocator keeps of thousands of connections, at random.
SLACK_BYTES = 8 << 20


def settle(server: ServerProcess, before: dict[str, int]) -> dict[str, int]:
    """Waits until the server holds no more than before; what it holds then."""
    end_s = time.monotonic() + SETTLE_S
    while True:
        now = server.held()
        if all(now[name] <= before[name] for name in before if name != "rss_bytes") or time.monotonic() > end_s:
            return now
        time.sleep(0.1)


def siege(n_connections: int, n_warm_up: int, seed: int) -> tuple[dict[str, Any], bool]:
    with ServerProcess({**MODEL, **DEADLINES, "limits.streams_per_address": 10_000}, variables=MALLOC) as server:
        neighbour = Neighbour(server.url("segmented"))
        assert server.grpc_port is not None
        grpc_stream(server.grpc_port, start(), bytes(3200))  # the library keeps some descriptors from the first call on
        idle = server.held()
        with neighbour:
            besiege(server.port, server.grpc_port, n_warm_up, seed + 1, 8)
        before = settle(server, idle)
        began_s = time.monotonic()
        with neighbour:
            outcomes = besiege(server.port, server.grpc_port, n_connections, seed, 8)
        took_s = time.monotonic() - began_s
        after = settle(server, idle)
        same = bool(neighbour.beside) and all(events == neighbour.alone for events in neighbour.beside)
        print(f"{n_connections} bad connections of {len(KINDS)} kinds in {took_s:.0f} s, seed {seed}")
        print(f"\n| | idle | after {n_warm_up} | after {n_warm_up + n_connections} |\n|---|---|---|---|")
        for name in idle:
            values = [held[name] / 2**20 if name == "rss_bytes" else held[name] for held in (idle, before, after)]
            shown = [f"{value:.1f} MiB" if name == "rss_bytes" else str(value) for value in values]
            print(f"| {name.removesuffix('_bytes')} | {' | '.join(shown)} |")
        verdict = "the same" if same else "OTHER"
        print(f"\nA well-behaved stream, {len(neighbour.beside)} times beside it: {verdict} events")
        back = all(after[name] <= idle[name] for name in idle if name != "rss_bytes")
        grown = after["rss_bytes"] - before["rss_bytes"] > SLACK_BYTES
        result = {"connections": n_connections, "seconds": took_s, "idle": idle, "before": before, "after": after}
        result |= {"outcomes": outcomes, "neighbour_streams": len(neighbour.beside), "neighbour_same": same}
        return result, same and back and not grown


def cost(name: str, n_streams: int) -> dict[str, float]:
    """What one connection of a kind takes of the server's memory: at most, and held open; MiB."""
    with ServerProcess({**MODEL, "limits.streams_per_address": 10_000}, variables=MALLOC) as server:
        Neighbour(server.url("segmented"))
        before = server.held()["rss_bytes"]
        server.reset_peak()
        raws = []
        for number in range(n_streams):
            port = (server.grpc_port if KINDS[name].grpc else None) or server.port
            raw = Raw(port, receive_buffer_bytes=4096)
            with contextlib.suppress(OSError, AssertionError):  # thrown out in the middle of it
                KINDS[name].attack(raw, random.Random(number))
            raws.append(raw)
        held = server.held()["rss_bytes"]
        peak = server.peak_bytes()
        for raw in raws:
            raw.socket.close()
    return {"held_mib": (held - before) / n_streams / 2**20, "peak_mib": (peak - before) / n_streams / 2**20}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="costs of these alone; none: no costs")
    parser.add_argument("--streams", type=int, default=20, help="of a kind, for its cost")
    parser.add_argument("--json", type=Path, default=ROOT / "build/hostile.json")
    arguments = parser.parse_args()
    good, result = True, {}
    if arguments.connections:
        result, good = siege(arguments.connections, arguments.warm_up, arguments.seed)
    kinds = list(KINDS) if arguments.kinds is None else arguments.kinds
    if kinds:
        print(f"\n| kind of stream | at most | held open |  (MiB each, of {arguments.streams})\n|---|---|---|")
    result["costs"] = {}
    for name in kinds:
        result["costs"][name] = costs = cost(name, arguments.streams)
        print(f"| {name.replace('_', ' ')} | {costs['peak_mib']:.2f} | {costs['held_mib']:.2f} |", flush=True)
    arguments.json.parent.mkdir(exist_ok=True)
    arguments.json.write_text(json.dumps(result, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
