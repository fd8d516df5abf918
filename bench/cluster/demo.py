"""Two servers, two Ray nodes with a replica each, and streams of speech through both; in mid-speech a replica dies, and
then a node.

    python bench/cluster/demo.py [--streams 6]

Prints what the streams of each server got; exit code 1 when an utterance has neither a result nor an error, or a
stream was closed.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import math
import os
import signal
import time

from parts import replica_pids

from clients import Heard, edge, run_in_own_network, speak
from tools.ray_nodes import LocalCluster, deploy

KILL_REPLICA_S, KILL_NODE_S = 4.0, 8.0
READY_S = 60.0


def ready_after_s(port: int) -> float:
    """How long until the server accepts streams: Serve replaces what was killed."""
    began_s = time.monotonic()
    while not is_ready(port):
        if time.monotonic() - began_s > READY_S:
            return math.inf
        time.sleep(0.2)
    return time.monotonic() - began_s


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/v1/ready")
    status = connection.getresponse().status
    connection.close()
    return status == 200


async def scenes(ports: list[int], n_streams: int, cluster: LocalCluster) -> dict[int, list[Heard]]:
    speaking = {
        port: [asyncio.ensure_future(speak(port, delay_s=n / n_streams)) for n in range(n_streams)] for port in ports
    }
    loop = asyncio.get_running_loop()
    await asyncio.sleep(KILL_REPLICA_S)
    victim = replica_pids("voxgate")[0]
    os.kill(victim, signal.SIGKILL)
    print(f"{KILL_REPLICA_S:4.0f} s  killed the replica with pid {victim}", flush=True)
    await asyncio.sleep(KILL_NODE_S - KILL_REPLICA_S)
    await loop.run_in_executor(None, cluster.kill, cluster.nodes.pop())
    print(f"{KILL_NODE_S:4.0f} s  killed a node", flush=True)
    return {port: list(await asyncio.gather(*tasks)) for port, tasks in speaking.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=6, help="of each server")
    args = parser.parse_args()
    run_in_own_network()
    print("starting two Ray nodes ...", flush=True)
    with LocalCluster((1, 1)) as cluster:
        print("deploying the model on them ...", flush=True)
        deploy("dummy", "--replicas", "2", "--set=model.delay=0.1", "--set=model.panic_rate=0")
        with edge() as one, edge() as other:
            ports = [one.port, other.port]
            print(f"streams of speech through the servers on ports {ports[0]} and {ports[1]}", flush=True)
            heard = asyncio.run(scenes(ports, args.streams, cluster))
            print("\n| server | streams | utterances | results | errors | closed streams | ready again after |")
            print("|---" * 7 + "|")
            for port, streams in heard.items():
                counts = [
                    sum(each.utterances for each in streams),
                    sum(len(each.finals) for each in streams),
                    sum(len(each.errors) for each in streams),
                    sum(bool(each.closed) for each in streams),
                ]
                print(f"| {port} | {len(streams)} | {' | '.join(map(str, counts))} | {ready_after_s(port):.1f} s |")
            is_good = all(each.is_answered for streams in heard.values() for each in streams)
            print("\nevery utterance was answered" if is_good else "\nFAILED: an utterance has no answer")
            for text in sorted({text for streams in heard.values() for each in streams for text in each.errors}):
                print(f"  error: {text}")
            for text in sorted({each.closed for streams in heard.values() for each in streams if each.closed}):
                print(f"  closed: {text}")
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
