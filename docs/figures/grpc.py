"""Figures of docs/series/10-grpc.md: what a message of a live stream costs the server, over a websocket and over gRPC.

    python docs/figures/grpc.py [--seconds 8] [--rounds 3]

The measurement is that of bench/grpc_cost.py: 50 live streams of speech, with Silero and the fake model. About three
minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]

import grpc_cost
import sections
from server_process import ServerProcess

PAGE = ROOT / "docs/series/10-grpc.md"
MESSAGES_MS = (20, 100, 200)
STREAMS = 50
SETTINGS = {
    "model": "dummy",
    "grpc.port": 0,
    "limits.streams": 10_000,
    "limits.streams_per_address": 10_000,
    "vad.detector": "silero",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.streams, arguments.per_connection = STREAMS, 1
    lines = [
        f"| messages of {STREAMS} live streams | websocket | gRPC | gRPC / websocket |",
        "|---|---|---|---|",
    ]
    for arguments.message_ms in MESSAGES_MS:
        best: dict[str, float] = {}
        with ServerProcess(SETTINGS) as server:
            for _ in range(arguments.rounds):
                for wire in ("websocket", "grpc"):
                    best[wire] = min(best.get(wire, 1e9), grpc_cost.measured(server, wire, arguments))
        websocket_us, grpc_us = best["websocket"], best["grpc"]
        ratio = grpc_us / websocket_us
        lines.append(f"| {arguments.message_ms} ms | {websocket_us:.0f} us | {grpc_us:.0f} us | {ratio:.1f} |")
        print(lines[-1], flush=True)
    sections.figures("grpc", PAGE, "\n".join(lines), grpcio=importlib.metadata.version("grpcio"))


if __name__ == "__main__":
    main()
