"""The table of decision 0013: how 200 connections are spread over server processes that share a listening socket, or
have one each (SO_REUSEPORT).

    python docs/figures/listening.py
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import uvloop

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import sections

PAGE = ROOT / "docs" / "decisions" / "0013-several-server-processes.md"
N_CONNECTIONS, RUNS, PAUSE_S = 200, 3, 0.005


def listening(port: int, shared: bool) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(2048)
    return sock


def serve(sock: socket.socket, number: int) -> None:
    """Says its number to whoever connects, until it is ended."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes([number]))

    async def main() -> None:
        await (await asyncio.start_server(greet, sock=sock)).serve_forever()

    asyncio.run(main(), loop_factory=uvloop.new_event_loop) if sys.version_info >= (3, 12) else uvloop.run(main())


async def connect(port: int) -> tuple[int, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    return (await reader.readexactly(1))[0], writer


async def spread(port: int, n_processes: int, pause_s: float) -> list[int]:
    """Connections of each process."""
    tasks = []
    for _ in range(N_CONNECTIONS):
        tasks.append(asyncio.ensure_future(connect(port)))
        if pause_s:
            await asyncio.sleep(pause_s)
    reached = await asyncio.gather(*tasks)
    for _, writer in reached:
        writer.close()
    counts = Counter(number for number, _ in reached)
    return [counts[number] for number in range(n_processes)]


def run(n_processes: int, own: bool, pause_s: float) -> list[int]:
    first = listening(0, own)
    port = first.getsockname()[1]
    sockets = [first] + [listening(port, True) if own else first for _ in range(n_processes - 1)]
    children = []
    for number, sock in enumerate(sockets):
        child = os.fork()
        if child == 0:
            for other in set(sockets) - {sock}:
                other.close()  # who keeps it open keeps a place among those that are given connections
            serve(sock, number)
            os._exit(0)
        children.append(child)
    for sock in set(sockets):
        sock.close()
    try:
        return asyncio.run(spread(port, n_processes, pause_s))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def main() -> int:
    rows = [
        "| connections of the busiest and the idlest process | one socket for all | a socket each |",
        "|---|---|---|",
    ]
    for n_processes in (2, 4):
        for what, pause_s in (("all at once", 0.0), ("one each 5 ms", PAUSE_S)):
            cells = []
            for own in (False, True):
                counts = [run(n_processes, own, pause_s) for _ in range(RUNS)]
                cells.append(", ".join(f"{max(each)} and {min(each)}" for each in counts))
            rows.append(f"| {n_processes} processes, {what} | {cells[0]} | {cells[1]} |")
            print(rows[-1], flush=True)
    sections.figures("listening", PAGE, "\n".join(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
