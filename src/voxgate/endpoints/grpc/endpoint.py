"""One call of a streaming method as an endpoint: messages in and out of grpc.aio, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from voxgate.endpoints.grpc.operation import GONE, run
from voxgate.endpoints.grpc.statuses import Status, status_of_close
from voxgate.endpoints.grpc.wire import FRAME_BYTES, GrpcWire
from voxgate.errors import VoxgateError
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected

__all__ = ["GrpcEndpoint"]

CANCEL_SETTLE_S: Final = 0.02
"""How long after the end of a client's messages the library may still report that the client has left."""


class GrpcEndpoint:
    """A call whose client is admitted. The session runs in a task of its own: that of the call belongs to grpc.aio,
    which cancels it when the client is gone.

    The half-close of the client ends its session; then the stream closes.
    """

    __slots__ = (
        *(
            "_context",
            "_is_half_closed",
            "_last_error",
            "_listener",
            "_loop",
            "_max_bytes",
            "_send_timeout_s",
            "_tally",
        ),
        *("_waiting", "_waits", "_wire", "departure", "over", "status"),
    )

    def __init__(
        self, wire: GrpcWire, context: grpc.aio.ServicerContext, max_bytes: int, send_timeout_s: float, tally: Tally
    ) -> None:
        """`max_bytes`: of a message, without its frame. `send_timeout_s`: how long the client may read nothing."""
        self._wire = wire
        self._context = context
        self._max_bytes = max_bytes
        self._send_timeout_s = send_timeout_s
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Received] = deque(wire.opening)
        self._is_half_closed = False
        self._waits: set[asyncio.Task[Any]] = set()  # the tasks that wait for grpc.aio
        self._last_error = ""
        self._listener: Listener | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when either side has ended the call: nothing is received or sent any more."""
        self.departure = Departure(LOST)
        self.status = Status(grpc.StatusCode.OK)
        """That of the call, once the session is over."""

    def code_of(self, close: Close) -> None:
        return None

    async def receive(self) -> Received | None:
        while not self._waiting:
            if self._is_half_closed:
                await self.over
            data = await self._unless_over(self._context.read)
            if data is None:
                return None
            if data is grpc.aio.EOF:
                # The library reports a cancelled call first as the end of its messages, and then cancels.
                await asyncio.wait((self.over,), timeout=CANCEL_SETTLE_S)
                if self.over.done():
                    return None
                self._is_half_closed = True
                self._waiting.extend(self._wire.at_half_close())
            else:
                received = self._read(data)
                # Live audio reaches the session here, as over a websocket; it takes no other turn.
                if not (len(received) == 1 and type(received[0]) is bytes and self._takes(received[0])):
                    self._waiting.extend(received)
        return self._waiting.popleft()

    def _takes(self, audio: bytes) -> bool:
        return self._listener is not None and self._listener(audio)

    async def _unless_over(self, operation: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """The result of an operation of grpc.aio; None when the call is over, or ends meanwhile."""
        if self.over.done():
            return None
        task = asyncio.current_task()
        assert task is not None
        self._waits.add(task)
        try:
            result = await run(operation, *arguments)
        except asyncio.CancelledError:
            if not self.over.done():
                raise
            if task.uncancel() > 0:  # `_end` was not the only one
                raise
            return None
        finally:
            self._waits.discard(task)
            del task  # A cancelled task keeps its traceback, which keeps this frame: a cycle, with this object in it.
        if result is GONE:
            self._end()
            return None
        return result

    def _read(self, data: bytes) -> Sequence[Received]:
        if len(data) > self._max_bytes + FRAME_BYTES:
            self._count(data)
            return (self._too_large(),)
        try:
            received = self._wire.read(data)
        except VoxgateError as error:
            self._count(data)
            return (Rejected(error.with_traceback(None)),)  # it would hold the frames, and they this object
        audio = [part for part in received if isinstance(part, bytes)]
        if not audio:
            self._count(data)
        elif len(audio[-1]) > self._max_bytes:
            self._tally.binary[0] += 1
            self._tally.binary[1] += len(audio[-1])
            return (self._too_large(),)
        return received

    def _too_large(self) -> Rejected:
        text = f"message larger than {self._max_bytes} bytes"
        return Rejected(close=Close(CloseReason.TOO_LARGE, text, "message_bytes"))

    def _count(self, data: bytes) -> None:
        self._tally.text[0] += 1
        self._tally.text[1] += len(data)

    def listen(self, listener: Listener | None) -> None:
        self._listener = listener

    def encode(self, event: Event) -> Sequence[Message]:
        if isinstance(event, Error):
            self._last_error = event.message
        return self._wire.encode(event)

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        timer = self._loop.call_later(self._send_timeout_s, self._on_stall)
        try:
            await self._unless_over(self._context.write, message)
        finally:
            timer.cancel()

    async def close(self, close: Close) -> None:
        for message in self._wire.farewell(close):
            await self.send(message)
        if not self.over.done():
            self.status = status_of_close(self._wire.end_of(close), self._last_error)
            self._end()

    def leave(self) -> None:
        """The client has ended the call, or its connection is lost: gRPC tells no difference."""
        self.departure = Departure(LEFT)
        self._end()

    def _on_stall(self) -> None:
        text = f"the client has read nothing for {self._send_timeout_s:g} s (server.send_timeout_s)"
        self.status = status_of_close(Close(CloseReason.TIMEOUT, text))
        self.departure = Departure(CloseReason.TIMEOUT)
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
            for task in self._waits - {asyncio.current_task()}:
                task.cancel()  # only what it waits for: see `_unless_over`
