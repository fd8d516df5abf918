"""One call of a streaming method as an endpoint: messages in and out of grpc.aio, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import grpc
import grpc.aio

from voxgate.endpoints.grpc.statuses import CODES, Status, code_number, status_of_close
from voxgate.endpoints.grpc.wire import GrpcWire
from voxgate.errors import VoxgateError
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected

__all__ = ["GrpcEndpoint"]

CANCELLED = code_number(grpc.StatusCode.CANCELLED)
DEADLINE_EXCEEDED = code_number(grpc.StatusCode.DEADLINE_EXCEEDED)


class GrpcEndpoint:
    """A call whose client is admitted. The session runs in a task of its own: that of the call belongs to grpc.aio,
    which cancels it when the client is gone.

    The half-close of the client ends its session; then the stream closes.
    """

    __slots__ = (
        *("_context", "_is_half_closed", "_last_error", "_loop", "_max_bytes", "_over", "_send_timeout_s", "_tally"),
        *("_task", "_waiting", "_wire", "departure", "status"),
    )

    def __init__(
        self, wire: GrpcWire, context: grpc.aio.ServicerContext, max_bytes: int, send_timeout_s: float, tally: Tally
    ) -> None:
        """`max_bytes`: the largest audio of one message. `send_timeout_s`: how long the client may read nothing."""
        self._wire = wire
        self._context = context
        self._max_bytes = max_bytes
        self._send_timeout_s = send_timeout_s
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Received] = deque(wire.opening)
        self._is_half_closed = False
        self._over: asyncio.Future[None] = self._loop.create_future()  # either side has ended the call
        self._task: asyncio.Task[None] | None = None  # it reads
        self._last_error = ""
        self.departure = Departure(LOST, CANCELLED)
        self.status = Status(grpc.StatusCode.OK)
        """That of the call, once the session is over."""

    def code_of(self, close: Close) -> int:
        return code_number(CODES[close.reason])

    async def receive(self) -> Received | None:
        while not self._waiting:
            if self._is_half_closed or self._over.done():
                await self._over
                return None
            if not await self._receive():
                return None
        return self._waiting.popleft()

    async def _receive(self) -> bool:
        """Waits for a message. False: there is none any more."""
        self._task = asyncio.current_task()
        try:
            data = await self._context.read()
        except asyncio.CancelledError:
            if not self._over.done() or self._task is None:
                raise
            self._task.uncancel()  # it was `_end`
            return False
        except grpc.aio.BaseError:  # the call is over
            self._end()
            return False
        finally:
            self._task = None
        if data is grpc.aio.EOF:
            self._is_half_closed = True
            self._waiting.extend(self._wire.at_half_close())
        else:
            self._waiting.extend(self._read(data))
        return True

    def _read(self, data: bytes) -> Sequence[Received]:
        try:
            received = self._wire.read(data)
        except VoxgateError as error:
            self._count(data)
            return (Rejected(error),)
        audio = [part for part in received if isinstance(part, bytes)]
        if not audio:
            self._count(data)
        elif len(audio[-1]) > self._max_bytes:
            self._tally.binary[0] += 1
            self._tally.binary[1] += len(audio[-1])
            text = f"message larger than {self._max_bytes} bytes"
            return (Rejected(close=Close(CloseReason.TOO_LARGE, text, "message_bytes")),)
        return received

    def _count(self, data: bytes) -> None:
        self._tally.text_in += 1
        self._tally.text_in_bytes += len(data)

    def listen(self, listener: Listener | None) -> None:
        return None

    def encode(self, event: Event) -> Sequence[Message]:
        if isinstance(event, Error):
            self._last_error = event.message
        return self._wire.encode(event)

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        if self._over.done():
            return
        timer = self._loop.call_later(self._send_timeout_s, self.leave)
        try:
            await self._context.write(message)
        except grpc.aio.BaseError:
            self._end()
        finally:
            timer.cancel()

    async def close(self, close: Close) -> None:
        for message in self._wire.farewell(close):
            await self.send(message)
        self.status = status_of_close(self._wire.end_of(close), self._last_error)
        self._end()

    def leave(self) -> None:
        """The client is gone, or has read nothing for too long."""
        left_s = self._context.time_remaining()
        self.departure = Departure(LEFT, DEADLINE_EXCEEDED if left_s == 0 else CANCELLED)
        self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
            if self._task is not None:
                self._task.cancel()  # only the read: see `receive`
