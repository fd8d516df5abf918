"""The end of a connection: the last bytes of the server must reach the client.

When a socket is closed while received bytes are unread, the kernel sends an RST, which destroys data on its way to the
peer: a close frame, or the answer to a request. And some clients that get an end of file while they still send fail
before they read the close frame. Therefore `Closing` ends a connection in two steps:

1. After its close frame the server reads and discards data until the client's close frame, which `FrameSkipper` finds.
2. Then, or after the answer to a refused request, it half-closes the connection and discards data until the client's
   end of file.

Both steps are bounded in time and in bytes. A client may read slowly: its time begins when its kernel has acknowledged
everything, and until then some of it must be acknowledged in each `server.send_timeout_s`, and all of it at
SLOWEST_BYTES_PER_S. Connections that end are in no count of streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios
from typing import Final

# The server aborts a connection when, before the client's end, nothing is received for this time, ...
CLOSE_TIMEOUT_S = 3.0
# ... when the client's end has not come after this time, ...
CLOSE_MAX_S = 10.0
# ... or after this many bytes: more than a large message that was on its way.
DISCARD_BYTES = 67_108_864
# Slower clients do not get everything.
SLOWEST_BYTES_PER_S = 4096
# Single-threaded clients read only when they cannot send: after PAUSE_BYTES the server stops reading for PAUSE_S. Both
# double each time.
PAUSE_BYTES = 1_048_576
PAUSE_S = 0.1
PAUSE_MAX_S = 1.0
# Frames are parsed in pieces of this size (at most 2700 frames); the event loop runs other callbacks in between.
TURN_BYTES = 16_384

_CLOSE: Final = 8  # opcode


def unsent_bytes(transport: asyncio.Transport) -> int:
    """The bytes written that the peer's kernel has not acknowledged: in the transport and in our kernel."""
    n_bytes = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
        if sock is not None:
            n_bytes += int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return n_bytes


def limit_probing(transport: asyncio.Transport, timeout_s: float | None) -> None:
    """How long the kernel waits for acknowledgements; None: as long as it likes. With a time, Linux also cuts off
    clients that read slowly: it counts from the first moment without room for data to the next with room for all of
    what lies first in its queue (up to 64 KiB). So it has none while we look ourselves whether the client reads.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    with contextlib.suppress(OSError, ValueError):  # not TCP; closed
        duplicate = socket.socket(fileno=os.dup(sock.fileno()))  # uvloop's has no setsockopt
        with duplicate:
            duplicate.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round((timeout_s or 0) * 1000))


class FrameSkipper:
    """Finds the boundaries of a client's frames, of any size and kind, and stores no payload."""

    __slots__ = ("_head", "_n_skip_bytes")

    def __init__(self, n_skip_bytes: int = 0) -> None:
        self._n_skip_bytes = n_skip_bytes  # of a frame whose header is parsed
        self._head = b""  # the beginning of an incomplete header

    def feed(self, data: bytes) -> bool:
        """True when a close frame begins in `data`. It is the last frame of a client: do not feed more data."""
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
    """Takes a connection over from `owner`, which has written its last byte. `owner` still gets `connection_lost`.

    `send_timeout_s`: unsent bytes must become fewer within it. `skipper`: finds the client's close frame; None when the
    server does not wait for one. `rest`: received bytes that `skipper` has not parsed yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        owner: asyncio.BaseProtocol,
        send_timeout_s: float,
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
        self._send_timeout_s = send_timeout_s
        self._seen_bytes_left = self._n_bytes_left
        self._n_unsent_bytes = unsent_bytes(transport)
        self._sent_s = loop.time()  # when they were last seen to become fewer
        self._all_sent_until_s = self._sent_s + send_timeout_s + self._n_unsent_bytes / SLOWEST_BYTES_PER_S
        self._until_s = self._sent_s + CLOSE_MAX_S
        limit_probing(transport, None)
        self.timer = loop.call_later(CLOSE_TIMEOUT_S, self._check)
        """Runs until the end of the connection."""
        self._next_turn: asyncio.Handle | None = None
        transport.set_protocol(self)
        if skipper is None:
            self._half_close()
        self._pause_reading()
        self._take_turn()

    def data_received(self, data: bytes) -> None:
        n_bytes = len(data)
        self._n_bytes_left -= n_bytes
        self._n_free_bytes -= n_bytes
        if self._n_bytes_left < 0:
            self._transport.abort()
        elif self._skipper is not None:
            self._rest += data
            self._pause_reading()
            if self._next_turn is None:
                self._take_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        if self._next_turn is not None:
            self._next_turn.cancel()
        self._owner.connection_lost(exc)

    def _take_turn(self) -> None:
        """Searches a piece of the received data for the close frame, then resumes reading."""
        self._next_turn = None
        if self._skipper is not None and self._rest:
            data, self._rest = self._rest[:TURN_BYTES], self._rest[TURN_BYTES:]
            if self._skipper.feed(data):
                self._half_close()
            elif self._rest:
                self._next_turn = self._loop.call_soon(self._take_turn)
                return
        if self._skipper is not None and self._n_free_bytes < 0:
            self._next_turn = self._loop.call_later(self._pause_s, self._take_turn)
            self._pause_after_bytes *= 2
            self._n_free_bytes = self._pause_after_bytes
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
            return
        if not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
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
            self._transport.close()  # TLS: discards data until the peer answers its shutdown

    def _check(self) -> None:
        now_s, n_unsent_bytes, wait_s = self._loop.time(), unsent_bytes(self._transport), CLOSE_TIMEOUT_S
        if n_unsent_bytes or self._n_unsent_bytes:
            if n_unsent_bytes < self._n_unsent_bytes:
                self._sent_s = now_s
            is_over = now_s >= min(self._sent_s + self._send_timeout_s, self._all_sent_until_s)
            self._until_s = now_s + CLOSE_MAX_S
        else:
            is_over = self._n_bytes_left == self._seen_bytes_left or now_s >= self._until_s
            wait_s = min(wait_s, self._until_s - now_s)
        self._n_unsent_bytes, self._seen_bytes_left = n_unsent_bytes, self._n_bytes_left
        if is_over:
            self._transport.abort()
        else:
            self.timer = self._loop.call_later(wait_s, self._check)
