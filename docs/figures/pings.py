"""The table of decision 0002: how long a ping waits behind its client's own audio, by the size of the receive buffer.

    python docs/figures/pings.py

A model at a real-time factor of 0.3, and a client that sends as fast as it may: three servers beside each other, which
sleep most of the time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]

import sections
from server_process import ServerProcess
from websockets.asyncio.client import ClientConnection, connect

PAGE = ROOT / "docs" / "decisions" / "0002-back-pressure-and-pings.md"
BUFFERS_KIB = (64, 32, 16)
FACTOR, N_PINGS, MOST_S = 0.3, 3, 45.0
START = {"request": "start", "format": {"channels": 1, "sample_rate": 16000, "bit_depth": 16, "is_float": False}}
MODEL = {
    "model": "dummy",
    "model.delay": 0,
    "model.jitter": 0,
    "model.panic_rate": 0,
    "model.warmup_penalty": 0,
    "model.constant_factor": FACTOR,
    "inference.per_stream": 1,
}


async def flood(websocket: ClientConnection) -> None:
    while True:
        await websocket.send(bytes(3200))


async def read(websocket: ClientConnection) -> None:
    async for _ in websocket:
        pass


async def pings_s(url: str) -> list[float]:
    """How long several waited, one after the other, once everything between the client and the model is full."""
    async with connect(url, ping_interval=None, compression=None) as websocket:
        await websocket.send(json.dumps(START))
        working = [asyncio.ensure_future(each(websocket)) for each in (flood, read)]
        await asyncio.sleep(3)
        waited_s, end_s = [], time.monotonic() + MOST_S
        while len(waited_s) < N_PINGS and time.monotonic() < end_s:
            begin_s = time.monotonic()
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + MOST_S):
                await (await websocket.ping())
            waited_s.append(time.monotonic() - begin_s)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        websocket.transport.abort()  # a close frame would stand in the same line
    return waited_s


async def measure(servers: list[ServerProcess]) -> list[list[float]]:
    return await asyncio.gather(*(pings_s(server.url("simple")) for server in servers))


def main() -> int:
    servers = [
        ServerProcess({**MODEL, "server.receive_buffer_bytes": 1024 * kib, "server.drain_s": 0}) for kib in BUFFERS_KIB
    ]
    try:
        waited_s = asyncio.run(measure(servers))
    finally:
        for server in servers:
            server.__exit__()
    rows = ["| `server.receive_buffer_bytes` | pings, one after the other, are answered after |", "|---|---|"]
    for kib, times in zip(BUFFERS_KIB, waited_s, strict=True):
        rows.append(f"| {kib} KiB | {', '.join(f'{s:.0f}' for s in times)} s |")
    text = "\n".join(rows)
    print(text)
    sections.figures("pings", PAGE, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
