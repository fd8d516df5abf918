"""A live stream over gRPC: a connection of its own, and two tasks, because the library has no other way."""

from __future__ import annotations

import asyncio
from collections import deque

from voxgate.client.errors import ConnectError, RefusedError
from voxgate.client.wires.grpc import ConnectionClosed, GrpcConnection
from voxgate.errors import InvalidMessage
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import parse_event
from voxgate.protocol.requests import Start
from voxgate.runtime import tasks

from .connection import Clock, Connection, Frame
from .stream import LiveStream
from .websocket import Target

__all__ = ["GrpcCall", "LiveGrpcStream"]

_ANY_START = Start(AudioFormat(1, 16_000, 16, False))  # nothing of it is sent with the head of a call
_ACCEPTED = 101


class GrpcCall(Connection):
    """Calls `Stream` and receives events."""

    def __init__(self, target: Target, clock: Clock) -> None:
        super().__init__(target, clock)
        self._connection: GrpcConnection | None = None
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._has_more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        self.began_s = self.clock()
        try:
            connection = await GrpcConnection.open(self.target.url, self.target.token, _ANY_START)
        except RefusedError as error:
            if not self.is_over:
                self.status = error.status
                retry_after = error.retry_after or ""
                self.retry_after_s = int(retry_after) if retry_after.isdecimal() else None
                self.refusal_reason = error.body
                self._fail(str(error))
            return
        except ConnectError as error:
            self._fail(str(error))
            return
        if self.is_over:  # aborted meanwhile
            await connection.close()
            return
        self._connection = connection
        self.status = _ACCEPTED
        self.connect_s = self.clock() - self.began_s
        self._tasks = [
            tasks.spawn_task(self._send(connection), "voxgate-load-send", "load"),
            tasks.spawn_task(self._receive(connection), "voxgate-load-receive", "load"),
        ]
        self.opened()

    def write(self, frame: Frame) -> None:
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        self._has_more.set()

    def unsent_bytes(self) -> int:
        return 0 if self.is_over else self._waiting_bytes

    def abort(self, failure: str) -> None:
        self._fail(failure)
        self._leave()

    async def _send(self, connection: GrpcConnection) -> None:
        try:
            while True:
                await self._has_more.wait()
                self._has_more.clear()
                while self._waiting:
                    frame = self._waiting.popleft()
                    await connection.send(frame)
                    self._waiting_bytes -= len(frame)
        except ConnectionClosed:
            pass  # the other task says why

    async def _receive(self, connection: GrpcConnection) -> None:
        try:
            while True:
                text = await connection.recv()
                self.received(parse_event(text), self.clock())
        except InvalidMessage as error:
            self._fail(f"the server sent an invalid event: {error}")
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                self._fail("the connection was lost without a status")
            elif not self.is_over:
                self.close_code = closed.rcvd.code
                self._end()
        self._leave()

    def _leave(self) -> None:
        """Ends the tasks, and the call."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            tasks.spawn_task(self._close(connection), "voxgate-load-close", "load")

    async def _close(self, connection: GrpcConnection) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await connection.close()


class LiveGrpcStream(LiveStream, GrpcCall):
    """One on Voxgate's gRPC API."""
