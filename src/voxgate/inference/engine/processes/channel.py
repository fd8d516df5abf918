"""The socket between the server and a worker process: four bytes of length, little-endian, before each message."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from voxgate.inference.engine.processes.messages import Message

__all__ = ["Channel", "ChannelClosed", "plain"]

_LENGTH = struct.Struct("<I")
_READ_BYTES = 65_536
_LONGEST_POLL_S = 3600.0
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class ChannelClosed(Exception):
    """The other end is closed, or its process is dead."""


def plain(value: Any) -> Any:
    """NumPy scalars and arrays (anything with ``tolist``) as values that MessagePack can encode; TypeError for other
    objects.
    """
    tolist = getattr(value, "tolist", None)
    if not callable(tolist):
        raise TypeError(f"a value of type {type(value).__name__!r} cannot be sent")
    return tolist()


class Channel:
    """One end of the socket. Any thread may send; one thread receives."""

    def __init__(
        self,
        sock: socket.socket,
        death_fd: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        kinds: Any = Message,
    ) -> None:
        """Owns `sock` from now on. `death_fd`: a pidfd, which turns readable when the other process is dead; its end
        of the socket can stay open much longer, in children that it left behind. `clock`: seconds. `kinds`: the union
        of the messages that `receive` returns.
        """
        self._socket = sock
        self._death_fd = death_fd
        self._clock = clock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        if death_fd is not None:
            self._poller.register(death_fd, select.POLLIN)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=plain)
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kinds)
        self._lock = threading.Lock()
        self._received = bytearray()

    def send(self, message: Any) -> None:
        """Blocks while the other end does not read and the socket is full. Raises ChannelClosed when it is closed."""
        frame = self._encoder.encode(message)
        try:
            with self._lock:
                self._socket.sendall(_LENGTH.pack(len(frame)) + frame)
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    def try_send(self, message: Any) -> bool:
        """Sends a message of some hundred bytes at most, if that can be done without waiting. Any thread. False: it was
        not sent, because the socket is full, another thread sends, or the other end is closed.
        """
        frame = self._encoder.encode(message)
        if not self._lock.acquire(blocking=False):
            return False
        try:
            # A socket that is ready for writing has room for much more than one such message.
            poller = select.poll()
            poller.register(self._socket, select.POLLOUT)
            if not any(event == select.POLLOUT for _, event in poller.poll(0)):
                return False
            self._socket.sendall(_LENGTH.pack(len(frame)) + frame)
        except (OSError, ValueError):
            return False
        finally:
            self._lock.release()
        return True

    def receive_now(self) -> Any:
        """The next message; None when none has arrived. Raises ChannelClosed like `receive`."""
        while (frame := self._next_frame()) is None:
            if not self._poller.poll(0):
                return None
            self._read()
        return self._decoder.decode(frame)

    def receive(self, until_s: float = math.inf) -> Any:
        """The next message. Waits without the GIL; raises TimeoutError when none has arrived at `until_s` of the clock,
        and ChannelClosed when the other end is closed and all its messages were read.
        """
        while (frame := self._next_frame()) is None:
            if self._death_fd is None and until_s == math.inf:
                self._read()
                continue
            left_s = until_s - self._clock()
            if left_s <= 0:
                raise TimeoutError
            ready = dict(self._poller.poll(math.ceil(min(left_s, _LONGEST_POLL_S) * 1000)))
            if ready.get(self._socket.fileno(), 0) & _READABLE:
                self._read()
            elif ready:
                raise ChannelClosed("the other process died")
        return self._decoder.decode(frame)

    def fileno(self) -> int:
        return self._socket.fileno()

    def hang_up(self) -> None:
        """Shuts the socket down in both directions; a thread that polls it wakes up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:  # No other thread is about to send to what may soon be another socket.
            self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise ChannelClosed(str(error)) from None
        if not data:
            raise ChannelClosed("the other end closed the channel")
        self._received += data

    def _next_frame(self) -> bytes | None:
        received = self._received
        if len(received) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
        if len(received) < end:
            return None
        frame = bytes(received[_LENGTH.size : end])
        del received[:end]
        return frame
