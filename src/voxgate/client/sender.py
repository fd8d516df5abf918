"""The audio of a stream on its way to the server, as messages at a given pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from .clock import Clock
from .feed import Feed
from .wires import Connection

__all__ = ["Sender"]

_MESSAGES_PER_TURN = 32  # then other tasks run: send() does not yield while the socket accepts everything


class Sender:
    """Sends what a feed gives. It belongs to the event loop; one connection at a time.

    `bytes_per_s`: of the audio, on average. `sample_bytes`: of one sample of PCM; 1 for a container. `chunk_bytes`: the
    longest message. `speed`: relative to real time, by an absolute schedule; 0 sends as fast as the
    connection accepts audio. `on_audio` gets the bytes of each message after they were sent, each byte once, in order.
    """

    def __init__(
        self,
        feed: Feed,
        bytes_per_s: float,
        sample_bytes: int,
        chunk_bytes: int,
        speed: float,
        clock: Clock,
        on_audio: Callable[[memoryview], None] | None,
    ) -> None:
        self.sent_bytes = 0
        """The end of the audio that was sent; `rewind` moves it back."""
        self.has_cut_a_sample = False
        """Whether a message since the last `rewind` ended inside a sample."""
        self.source_failure: Exception | None = None
        """What the source raised. The audio before it is still answered."""
        self.bytes_per_s = bytes_per_s
        self._feed = feed
        self._sample_bytes = sample_bytes
        self._chunk_bytes = chunk_bytes
        self._speed = speed
        self._clock = clock
        self._on_audio = on_audio
        self._furthest_bytes = 0  # the largest sent_bytes so far; on_audio has had everything before it
        self._stop_bytes: int | None = None  # where `stop` ended the audio
        self._begin_s: float | None = None  # when the audio began, for its pace
        self._pace: asyncio.Timeout | None = None

    async def send(self, websocket: Connection) -> None:
        """Sends audio from the current position on. Returns at the end of the feed, at its failure, or after `stop`.

        Raises ConnectionClosed, and what `on_audio` raises.
        """
        n_messages = 0
        if self._begin_s is None:
            self._begin_s = self._clock.time()
        while (block := await self._next_block()) is not None:
            for chunk in _chunks(block, self._chunk_bytes):
                # A microphone has a chunk only at the end of the chunk, and so it is sent at that time.
                if self._speed:
                    await self._wait_for_pace((self.sent_bytes + len(chunk)) / (self.bytes_per_s * self._speed))
                if self._stop_bytes is not None and self.sent_bytes >= self._stop_bytes:
                    return
                await websocket.send(chunk)
                self.sent_bytes += len(chunk)
                self._report(chunk)
                self.has_cut_a_sample |= len(chunk) % self._sample_bytes != 0
                n_messages += 1
                if n_messages % _MESSAGES_PER_TURN == 0:
                    await asyncio.sleep(0)

    def stop(self) -> None:
        """Ends the audio at the furthest position that was sent. In the thread of the loop."""
        if self._stop_bytes is not None:
            return
        self._stop_bytes = self._furthest_bytes
        self._feed.stop()
        if self._pace is not None:
            self._pace.reschedule(asyncio.get_running_loop().time())

    def rewind(self, position_bytes: int) -> None:
        """The next `send` begins at `position_bytes`, which the feed must still have (ValueError)."""
        self._feed.rewind(position_bytes)
        self.sent_bytes, self.has_cut_a_sample = position_bytes, False

    async def _next_block(self) -> memoryview | None:
        try:
            return await self._feed.next()
        except Exception as error:
            self.source_failure = error
            return None

    async def _wait_for_pace(self, at_s: float) -> None:
        """Until `at_s` after the beginning of the audio, or until `stop`."""
        assert self._begin_s is not None
        if self._stop_bytes is not None:
            return
        try:
            async with asyncio.timeout(None) as self._pace:
                await self._clock.sleep_until(self._begin_s + at_s)
        except TimeoutError:
            pass  # stopped
        finally:
            self._pace = None

    def _report(self, chunk: memoryview) -> None:
        n_new = self.sent_bytes - self._furthest_bytes
        if n_new > 0:
            self._furthest_bytes = self.sent_bytes
            if self._on_audio is not None:
                self._on_audio(chunk[-n_new:])


def _chunks(block: memoryview, size: int) -> Iterator[memoryview]:
    return (block[start : start + size] for start in range(0, len(block), size))
