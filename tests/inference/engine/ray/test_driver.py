"""What the driver says to the server. test_engine runs it as a process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.messages import Loaded, Quit
from voxgate.inference.engine.ray import driver as driver_module
from voxgate.inference.engine.ray.driver import Driver
from voxgate.inference.engine.ray.messages import (
    Answered,
    Call,
    Cancel,
    DriverMessage,
    Facts,
    Failed,
    ServerMessage,
    Status,
)

FACTS = Facts(Loaded("m", 8_000, None, False, False, False, True, None, False, None), 2)


class Cluster:
    """Two replicas, of which Serve still names one that is dead."""

    dead_pings = 1

    def look(self) -> tuple[int, str, str]:
        return 2, "v1", ""

    def find(self) -> bytes:
        return msgspec.msgpack.encode(FACTS)

    def ping(self) -> None:
        if self.dead_pings:
            self.dead_pings -= 1
            raise ConnectionError("dead")

    async def run(self, call: Call) -> AsyncIterator[bytes]:
        if call.call == b"fail":
            raise ConnectionError("gone")
        if call.call == b"bug":
            raise ZeroDivisionError
        if call.call == b"hang":
            await asyncio.Event().wait()
        yield call.call


def kind_of(error: BaseException) -> Any:
    return ("died" if isinstance(error, ConnectionError) else "bug"), type(error).__name__


def test_calls_and_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_LOOK_EVERY_S", 3600.0)
    ours, theirs = socket.socketpair()
    server, channel = Channel(ours, kinds=DriverMessage), Channel(theirs, kinds=ServerMessage)
    cluster: Any = Cluster()
    running = threading.Thread(target=Driver(channel, cluster, kind_of, 3600.0).run)
    running.start()

    def next_message() -> Any:
        return server.receive(time.perf_counter() + 60)

    assert next_message() == FACTS
    assert next_message() == Status(2)
    for number, (text, expected) in enumerate(
        [
            (b"one", Answered(0, b"one")),
            (b"fail", Failed(1, "died", "ConnectionError")),
            (b"bug", Failed(2, "bug", "ZeroDivisionError")),
            (b"hang", Failed(3, "cancelled", "")),
        ]
    ):
        server.send(Call(number, text, memoryview(b"")))
        if text == b"hang":
            server.send(Cancel(number))
        found = next_message()
        while isinstance(found, Status):  # A failure makes it look again.
            assert found == Status(2)
            found = next_message()
        assert found == expected
    server.send(Quit())
    running.join()
    server.close()
    channel.close()
