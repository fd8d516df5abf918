"""The end of a connection, in such a way that the last bytes of the server arrive.

A socket that is closed while received bytes are unread sends an RST, and the RST destroys what is still on its way to
the peer: a close frame, or the answer to a request. An end of file that arrives while a client still has bytes to send
makes some clients fail before they have looked at the close frame. So a connection ends in two steps, for which
`Closing` takes it over:

1. After its close frame the server reads on, and discards, until the client's close frame, which `FrameSkipper` finds.
2. Then, or after the answer to a request that was refused, it half-closes the connection and discards what still comes
   until the client's end of file.

Both are bounded in time and in bytes.
"""

from __future__ import annotations

import asyncio
from typing import Final

# A peer that sends nothing, and takes in nothing, for this long while its end is awaited is cut off; ...
CLOSE_TIMEOUT_S = 3.0
# ... so is one whose end has not come after this time, ...
CLOSE_MAX_S = 10.0
# ... or after this many bytes: more than a large message that was under way.
DISCARD_BYTES = 67_108_864
# Clients on one thread look at what they have received only when they cannot send: after so many bytes reading pauses
# for so long, and each time for twice as many and twice as long.
PAUSE_BYTES = 1_048_576
PAUSE_S = 0.1
PAUSE_MAX_S = 1.0
# Frames are looked for in so many bytes (2700 frames at most); then the event loop turns.
TURN_BYTES = 16_384

_CLOSE: Final = 8  # opcode


class FrameSkipper:
    """Follows the boundaries of a client's frames, whatever their size and kind, and keeps nothing of them."""

    __slots__ = ("_head", "_n_skip_bytes")

    def __init__(self, n_skip_bytes: int = 0) -> None:
        self._n_skip_bytes = n_skip_bytes  # of a frame whose header was seen
        self._head = b""  # the beginning of a header that is not complete

    def feed(self, data: bytes) -> bool:
        """Whether a close frame has begun in `data`: the last frame of a client, behind which nothing is fed."""
        if self._head:
            data = self._head + data
            self._head = b""
        pos, n_bytes = self._n_skip_bytes, len(data)
        while pos + 2 <= n_bytes:
            if data[pos] & 15 == _CLOSE:
                return True
            second = data[pos + 1]
            n_payload_bytes, n_head_bytes = second & 127, 2
            if n_payload_bytes >= 126:
                n_head_bytes = 4 if n_payload_bytes == 126 else 10
                if pos + n_head_bytes > n_bytes:
                    break
                n_payload_bytes = int.from_bytes(data[pos + 2 : pos + n_head_bytes])
            pos += n_head_bytes + n_payload_bytes + (4 if second & 128 else 0)
        if pos < n_bytes:
            self._head = data[pos:]
            pos = n_bytes
        self._n_skip_bytes = pos - n_bytes
        return False


class Closing(asyncio.Protocol):
    """Takes a connection over from `owner`, which has written its last byte. `owner` learns of the end of the
    connection, and goes on to watch what is not sent yet.

    `skipper`: finds the client's close frame in what follows; None when none is awaited. `rest`: what has been received
    and not fed to it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        owner: asyncio.BaseProtocol,
        skipper: FrameSkipper | None = None,
        rest: bytes = b"",
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._owner = owner
        self._skipper = skipper
        self._rest = rest
        self._n_bytes_left = DISCARD_BYTES
        self._n_free_bytes = self._pause_after_bytes = PAUSE_BYTES
        self._pause_s = PAUSE_S
        self._until_s = loop.time() + CLOSE_MAX_S
        self._seen = self._progress()
        self.timer = loop.call_later(CLOSE_TIMEOUT_S, self._check)
        """Set until the end of the connection."""
        self._going_on: asyncio.Handle | None = None
        transport.set_protocol(self)
        if skipper is None:
            self._half_close()
        self._hold()
        self._go_on()

    def data_received(self, data: bytes) -> None:
        n_bytes = len(data)
        self._n_bytes_left -= n_bytes
        self._n_free_bytes -= n_bytes
        if self._n_bytes_left < 0:
            self._transport.abort()
        elif self._skipper is not None:
            self._rest += data
            self._hold()
            if self._going_on is None:
                self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        if self._going_on is not None:
            self._going_on.cancel()
        self._owner.connection_lost(exc)

    def _go_on(self) -> None:
        """Looks for the close frame in what has come, and reads on."""
        self._going_on = None
        if self._skipper is not None and self._rest:
            data, self._rest = self._rest[:TURN_BYTES], self._rest[TURN_BYTES:]
            if self._skipper.feed(data):
                self._half_close()
            elif self._rest:
                self._going_on = self._loop.call_soon(self._go_on)
                return
        if self._skipper is not None and self._n_free_bytes < 0:
            self._going_on = self._loop.call_later(self._pause_s, self._go_on)
            self._pause_after_bytes *= 2
            self._n_free_bytes = self._pause_after_bytes
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
            return
        if not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def _hold(self) -> None:
        if not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()

    def _half_close(self) -> None:
        self._skipper = None
        self._rest = b""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()  # of TLS, which discards what comes until its own shutdown is answered

    def _progress(self) -> tuple[int, int]:
        return self._n_bytes_left, self._transport.get_write_buffer_size()

    def _check(self) -> None:
        seen, wait_s = self._progress(), min(CLOSE_TIMEOUT_S, self._until_s - self._loop.time())
        if wait_s > 0 and seen != self._seen:
            self._seen = seen
            self.timer = self._loop.call_later(wait_s, self._check)
        else:
            self._transport.abort()
