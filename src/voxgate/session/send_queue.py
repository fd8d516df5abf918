"""What waits for a client to read it, in order, and the close frame behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from voxgate.protocol.machine import Close

if TYPE_CHECKING:
    from voxgate.config import LimitsSettings
    from voxgate.observe.metrics import Tally

__all__ = ["SendQueue", "Sink", "utf8_bytes"]


class Sink(Protocol):
    """The websocket, as far as it is written to."""

    async def send(self, text: str) -> None:
        """Waits while the client does not read. Does nothing when it is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Sends the close frame. Does nothing when the client is gone."""


class SendQueue:
    """Of one connection, on the loop's thread. `write` is a task of its own, so that nobody waits for the client."""

    def __init__(self, sink: Sink, limits: LimitsSettings, tally: Tally, on_sent: Callable[[], None]) -> None:
        """`on_sent` is called after each event that the socket has taken."""
        self._sink = sink
        self._max_events = limits.unsent_events
        self._max_bytes = limits.unsent_bytes
        self._tally = tally
        self.on_sent = on_sent
        self.texts: deque[tuple[str, int]] = deque()
        """The events that wait, and their bytes."""
        self._n_bytes = 0  # with those of the event that the socket is taking
        self._close: Close | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self.texts)

    def put(self, text: str) -> None:
        n_bytes = utf8_bytes(text)
        self.texts.append((text, n_bytes))
        self._n_bytes += n_bytes
        self._changed.set()

    def close(self, close: Close) -> None:
        """Everything that waits leaves first, then the close frame, and `write` returns."""
        self._close = close
        self._changed.set()

    @property
    def is_full(self) -> bool:
        """So much waits that nothing of this client is taken in either."""
        return len(self.texts) >= self._max_events or self._n_bytes >= self._max_bytes

    @property
    def has_room(self) -> bool:
        """It has been read, so far that the client may go on."""
        return len(self.texts) < self._max_events / 2 and self._n_bytes < self._max_bytes / 2

    async def write(self) -> None:
        """Sends what is put in, until the close frame has been sent."""
        tally = self._tally
        while True:
            while self.texts:
                text, n_bytes = self.texts.popleft()
                began_s = perf_counter()
                await self._sink.send(text)
                self._n_bytes -= n_bytes
                tally.send_wait_s.observe(perf_counter() - began_s)
                tally.text_out += 1
                tally.text_out_bytes += n_bytes
                del text  # it may be large, and the next may be long in coming
                self.on_sent()
            if self._close is not None:
                await self._sink.close(self._close.code, self._close.reason)
                return
            self._changed.clear()
            await self._changed.wait()


def utf8_bytes(text: str) -> int:
    """Its length on the wire."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
