"""A 20 ms message of live audio from the socket's callback to the detector: by the shortcut, and by ASGI.

Everything is real but the socket: uvicorn's protocol as we made it, the application, the connection, the runner and the
detector (energy, so that it is the way that is measured). Ten streams take turns, as live ones do.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvloop
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from voxgate.config import load_config
from voxgate.models import FunctionModel
from voxgate.server.server import uvicorn_config
from voxgate.server.websocket import WebSocketProtocol
from voxgate.service.service import Service

STREAMS = 10
REQUEST = (
    b"GET /api/v1/segmented HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
START = {
    "request": "start",
    "format": {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False},
}


class Socket:
    """A transport that takes everything and says nothing."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def nothing(self, *args: Any) -> None:
        pass

    def is_reading(self) -> bool:
        return True

    write = pause_reading = resume_reading = close = abort = nothing


def frame(first_byte: int, data: bytes) -> bytes:
    """A client's, masked."""
    mask = os.urandom(4)
    head = (
        bytes([first_byte, 0x80 | len(data)]) if len(data) < 126 else struct.pack("!BBH", first_byte, 0xFE, len(data))
    )
    keys = np.resize(np.frombuffer(mask, np.uint8), len(data))
    return head + mask + (np.frombuffer(data, np.uint8) ^ keys).tobytes()


class Streams:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        noise = np.random.default_rng(0).integers(-30, 30, 320, dtype=np.int16)
        self.audio = frame(0x82, noise.tobytes())

    async def open(self) -> None:
        settings = load_config(environ={}, overrides={"server.port": 0, "vad.detector": "energy"})
        started = asyncio.Event()
        config = uvicorn_config(
            Service(settings, FunctionModel(lambda audio: {"count": len(audio)})), lambda error: started.set()
        )
        config.load()
        self.lifespan = LifespanOn(config)
        await self.lifespan.startup()
        await started.wait()
        self.protocols = []
        for _ in range(STREAMS):
            socket = Socket()
            http = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]
            http.connection_made(socket)  # type: ignore[arg-type]
            http.data_received(REQUEST)
            protocol = socket.protocol
            assert isinstance(protocol, WebSocketProtocol)
            await self.turn(20)
            protocol.data_received(frame(0x81, json.dumps(START).encode()))
            await self.turn(20)
            self.protocols.append(protocol)

    async def turn(self, n_turns: int) -> None:
        for _ in range(n_turns):
            await asyncio.sleep(0)

    async def hear(self) -> None:
        """One message of each stream, all the way."""
        for protocol in self.protocols:
            protocol.data_received(self.audio)
        await self.turn(2)

    async def close(self) -> None:
        for protocol in self.protocols:
            protocol.connection_lost(None)
        await self.turn(20)
        await self.lifespan.shutdown()


@pytest.fixture
def streams() -> Iterator[Streams]:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    streams = Streams(loop)
    loop.run_until_complete(streams.open())
    yield streams
    loop.run_until_complete(streams.close())
    asyncio.set_event_loop(None)
    loop.close()


GROUP = pytest.mark.benchmark(group="10 messages of 20 ms, socket to detector")


@GROUP
def test_voxgate_shortcut(benchmark, streams: Streams):
    benchmark(lambda: streams.loop.run_until_complete(streams.hear()))


@GROUP
def test_asgi(benchmark, streams: Streams):
    for protocol in streams.protocols:
        protocol.listen(None)
    benchmark(lambda: streams.loop.run_until_complete(streams.hear()))
