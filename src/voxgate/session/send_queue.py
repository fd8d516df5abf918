"""The events that wait for a client to read them, in order, and the goodbye behind them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from voxgate.protocol.closing import Close

if TYPE_CHECKING:
    from voxgate.config import LimitsSettings
    from voxgate.observe.metrics import Tally
    from voxgate.session.endpoint import Message

__all__ = ["SendQueue", "Sink", "utf8_bytes"]


class Sink(Protocol):
    """The part of an endpoint that sends."""

    def write(self, message: Message) -> bool:
        """Sends at once, if nothing stands in front of the message. False: it was not sent, and `send` has to."""

    async def send(self, message: Message) -> None:
        """Waits while the client does not read. Does nothing when the client is gone."""

    async def close(self, close: Close) -> None:
        """Says goodbye. Does nothing when the client is gone."""


class SendQueue:
    """The queue of one client, on the loop's thread. An event goes straight to a client that reads; what has to wait
    is sent by `write`, in its own task, so nothing else waits for the client.
    """

    __slots__ = (
        *("_changed", "_close", "_is_sending", "_max_bytes", "_max_events", "_n_bytes", "_sink", "_tally"),
        *("on_sent", "waiting"),
    )

    def __init__(self, sink: Sink, limits: LimitsSettings, tally: Tally, on_sent: Callable[[], None]) -> None:
        """`on_sent` is called after each event that had to wait, when the sink has taken it."""
        self._sink = sink
        self._max_events = limits.unsent_events
        self._max_bytes = limits.unsent_bytes
        self._tally = tally
        self.on_sent = on_sent
        self.waiting: deque[tuple[Sequence[Message], int]] = deque()
        """The messages of each event that waits, and their bytes."""
        self._n_bytes = 0  # including the event that the sink is taking
        self._is_sending = False  # the sink is taking an event
        self._close: Close | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self.waiting)

    def put(self, messages: Sequence[Message]) -> None:
        """Sends the messages of one event, or queues them."""
        if not self.waiting and not self._is_sending and self._close is None:
            n_sent = 0
            while n_sent < len(messages) and self._sink.write(messages[n_sent]):
                self._count(messages[n_sent])
                n_sent += 1
            if n_sent == len(messages):
                return
            messages = messages[n_sent:]
        n_bytes = sum(map(_n_bytes, messages))
        self.waiting.append((messages, n_bytes))
        self._n_bytes += n_bytes
        self._changed.set()

    def close(self, close: Close) -> None:
        """Lets `write` send everything that waits, then `close`, and return."""
        self._close = close
        self._changed.set()

    @property
    def is_full(self) -> bool:
        """A limit is reached: the session takes no more audio in."""
        return len(self.waiting) >= self._max_events or self._n_bytes >= self._max_bytes

    @property
    def has_room(self) -> bool:
        """The client has read so much that the session may go on."""
        return len(self.waiting) < self._max_events / 2 and self._n_bytes < self._max_bytes / 2

    async def write(self) -> None:
        """Sends everything, until it has sent the close."""
        tally = self._tally
        while True:
            while self.waiting:
                messages, n_bytes = self.waiting.popleft()
                self._is_sending = True
                began_s = perf_counter()
                for message in messages:
                    await self._sink.send(message)
                    self._count(message)
                    del message  # it may be large, and the next may take long to come
                self._n_bytes -= n_bytes
                self._is_sending = False
                tally.send_wait_s.observe(perf_counter() - began_s)
                del messages
                self.on_sent()
            if self._close is not None:
                await self._sink.close(self._close)
                return
            self._changed.clear()
            await self._changed.wait()

    def _count(self, message: Message) -> None:
        tally = self._tally
        if isinstance(message, str):
            tally.text_out += 1
            tally.text_out_bytes += len(message) if message.isascii() else utf8_bytes(message)
        else:
            tally.binary_out += 1
            tally.binary_out_bytes += len(message)


def _n_bytes(message: Message) -> int:
    return utf8_bytes(message) if isinstance(message, str) else len(message)


def utf8_bytes(text: str) -> int:
    """The length of `text` in UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
