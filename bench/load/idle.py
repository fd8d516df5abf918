"""Connections that send nothing, or `start` and no more."""

from __future__ import annotations

import asyncio
import time

from voxgate import load
from voxgate.load.websocket import WebSocket
from voxgate.protocol.events import Event

CONNECTS_PER_S = 200
READY_S = 30.0


class IdleConnection(WebSocket):
    """Connects, sends `start` when there is one, and is silent."""

    def __init__(self, target: load.Target, start: bytes | None) -> None:
        super().__init__(target, time.perf_counter)
        self.start = start

    def opened(self) -> None:
        if self.start is not None:
            self.write(self.start)

    def received(self, event: Event, now_s: float) -> None: ...

    def ended(self) -> None: ...


async def connect_idle(target: load.Target, start: bytes | None, n: int) -> list[IdleConnection]:
    """`n` of them, all open. ConnectionError when one cannot be had."""
    connections = [IdleConnection(target, start) for _ in range(n)]
    for connection in connections:
        await connection.connect()
        await asyncio.sleep(1 / CONNECTS_PER_S)
    until_s = time.perf_counter() + READY_S
    while any(connection.connect_s is None for connection in connections):
        failed = [connection.failure for connection in connections if connection.is_over]
        if failed or time.perf_counter() > until_s:
            raise ConnectionError(f"idle connections: {failed[0] if failed else 'no answer to the upgrade'}")
        await asyncio.sleep(0.05)
    return connections
