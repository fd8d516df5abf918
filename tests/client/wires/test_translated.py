"""The connections of other services' websocket APIs, on a websocket that only remembers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from voxgate.client.wires.assemblyai import AssemblyAiConnection
from voxgate.client.wires.deepgram import DeepgramConnection
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

START = Start(AudioFormat(1, 16_000, 16, False))


class Websocket:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: list[int] = []

    async def send(self, message: Any) -> None:
        self.sent.append(json.loads(message)["type"] if isinstance(message, str) else bytes(message))

    async def close(self, code: int) -> None:
        self.closed.append(code)


@pytest.mark.parametrize(
    ("connect", "stop", "flush"),
    [
        (lambda websocket: DeepgramConnection(websocket), "CloseStream", "Finalize"),
        (lambda websocket: AssemblyAiConnection(websocket, START), "Terminate", "ForceEndpoint"),
    ],
)
def test_requests_in_the_words_of_the_service(connect, stop, flush):
    websocket = Websocket()
    connection = connect(websocket)

    async def run() -> None:
        for request in ("start", "flush", "keep_alive"):
            await connection.send(json.dumps({"request": request}))
        await connection.send(memoryview(b"ab"))
        await connection.send('{"request": "stop"}')
        await connection.close(1001)

    asyncio.run(run())
    assert websocket.sent == [flush, "KeepAlive", b"ab", stop]
    assert websocket.closed == [1001]
