"""Live streams over Ray give exactly the results of the thread engine.

    python bench/cluster/same_results.py [--streams 200] [--model features]

Streams the bundled speech at live pace through a server with threads and through one with the model on two Ray nodes,
and compares every final. Exit code 1 when one differs or is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from server_process import ServerProcess

from clients import Heard, edge, run_in_own_network, speak
from tools.ray_nodes import LocalCluster, deploy


async def speak_all(port: int, n_streams: int) -> list[Heard]:
    return await asyncio.gather(*(speak(port, 2 * n / n_streams) for n in range(n_streams)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--model", default="features")
    args = parser.parse_args()
    run_in_own_network()
    limits = {"limits.queue_wait_s": 60, "vad.detector": "energy"}
    with ServerProcess({"model": args.model, **limits}) as server:
        expected = asyncio.run(speak_all(server.port, args.streams))
    print(f"threads: {sum(len(each.finals) for each in expected)} results", flush=True)
    with LocalCluster((1, 1)):
        deploy(args.model, "--replicas", "2")
        with edge(**{key.replace(".", "__"): value for key, value in limits.items()}) as server:
            began_s = time.monotonic()
            found = asyncio.run(speak_all(server.port, args.streams))
            took_s = time.monotonic() - began_s
    print(f"ray: {sum(len(each.finals) for each in found)} results in {took_s:.1f} s", flush=True)
    n_answered = sum(not each.errors and not each.closed and bool(each.finals) for each in [*expected, *found])
    n_same = sum(one.finals == other.finals for one, other in zip(expected, found, strict=True))
    print(f"{n_same} of {args.streams} streams have exactly the same results")
    return 0 if n_same == args.streams and n_answered == 2 * args.streams else 1


if __name__ == "__main__":
    raise SystemExit(main())
