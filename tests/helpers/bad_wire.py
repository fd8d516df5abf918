"""A wire that splits, delays, stalls and cuts: a TCP proxy whose faults are chosen beforehand, for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["to_server", "to_client"]
How = Literal["reset", "close", "stall"]
READ_BYTES = 65_536


@dataclass(frozen=True)
class Fate:
    """What happens to one connection."""

    max_piece_bytes: int = READ_BYTES
    """Everything is passed on in random pieces, this long at most."""
    max_delay_s: float = 0.0
    """In front of each of them, at random."""
    end: How | None = None
    """`reset`: an RST to both sides. `close`: a FIN to both, whatever was still under way. `stall`: nothing moves any
    more, and nobody is told."""
    end_in: Direction = "to_server"
    end_after_bytes: int = 0
    """Of that direction, handshake included."""


class BadWire:
    """Listens on `port`, and passes everything on to the server's port: `with BadWire(server.port, fate_of) as wire`.

    `fate_of(number)`: the fate of the connection with that number, counted from 0. A loop in a thread of its own.
    """

    def __init__(self, server_port: int, fate_of: Callable[[int], Fate]) -> None:
        self._server_port = server_port
        self._fate_of = fate_of
        self._n_connections = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="bad-wire")

    def __enter__(self) -> BadWire:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        listener.close()
        while self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._n_connections = self._n_connections, self._n_connections + 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        fate, rng, ended = self._fate_of(number), random.Random(number), asyncio.Event()
        pumps = [
            asyncio.ensure_future(_pump(reader, server_writer, "to_server", fate, rng, ended)),
            asyncio.ensure_future(_pump(server_reader, writer, "to_client", fate, rng, ended)),
        ]
        ending, over = asyncio.ensure_future(ended.wait()), asyncio.ensure_future(self._over.wait())
        try:
            both = asyncio.gather(*pumps, return_exceptions=True)
            await asyncio.wait([both, ending, over], return_when="FIRST_COMPLETED")
            if ended.is_set() and fate.end == "stall":
                for pump in pumps:
                    pump.cancel()
                await self._over.wait()
        finally:
            for pump in (*pumps, ending, over):
                pump.cancel()
            for side in (writer, server_writer):
                if fate.end == "reset":
                    linger = struct.pack("ii", 1, 0)
                    with contextlib.suppress(OSError):  # that side is gone already
                        side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if fate.end is not None:
                    side.transport.abort()
                side.close()
            self._connections.discard(task)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    direction: Direction,
    fate: Fate,
    rng: random.Random,
    ended: asyncio.Event,
) -> None:
    left = fate.end_after_bytes if fate.end is not None and fate.end_in == direction else None
    while data := await reader.read(READ_BYTES):
        while data:
            n_bytes = rng.randint(1, min(len(data), fate.max_piece_bytes))
            if left is not None:
                n_bytes = min(n_bytes, left)
                left -= n_bytes
            piece, data = data[:n_bytes], data[n_bytes:]
            if fate.max_delay_s:
                await asyncio.sleep(rng.uniform(0, fate.max_delay_s))
            writer.write(piece)
            await writer.drain()
            if left == 0:
                ended.set()
                return
    writer.write_eof()
