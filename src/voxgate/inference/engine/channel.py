"""What the server and a worker process say to each other, and how it crosses the socket between them.

A message is a MessagePack array behind four bytes of length, little-endian. Audio does not travel here; see
:mod:`.arena`.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "Answer",
    "Channel",
    "ChannelClosed",
    "Loaded",
    "Prepare",
    "Quit",
    "Record",
    "Refused",
    "Run",
    "Trial",
    "Warm",
]

_LENGTH = struct.Struct("<I")
_READ_BYTES = 65_536
_LONGEST_POLL_S = 3600.0
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


# --- the server's words ---


class Prepare(Struct, frozen=True, array_like=True, tag="prepare"):
    """Map the arena of `arena_bytes`; run the model's warm-up when `warm_up`."""

    arena_bytes: int
    warm_up: bool


class Trial(Struct, frozen=True, array_like=True, tag="trial"):
    """Run `n_items` seconds of faint noise; answered by an Answer which nobody reads."""

    n_items: int


class Run(Struct, frozen=True, array_like=True, tag="run"):
    """Run the batch that lies in the arena; samples of each row."""

    lengths: list[int]


class Quit(Struct, frozen=True, array_like=True, tag="quit"):
    """Close the model and end."""


# --- the worker's words ---


class Loaded(Struct, frozen=True, array_like=True, tag="loaded"):
    """The model is there, not yet warm: what the server has to know about it."""

    name: str
    sample_rate: int
    threads: int | None
    holds_gil: bool
    batches: bool
    stateful: bool


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The model could not be loaded or warmed up; why. The worker ends."""

    text: str


class Warm(Struct, frozen=True, array_like=True, tag="warm"):
    """Prepared."""


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """One outcome for each row of a Run: ``[kind, value]``, encoded one by one; see worker.encode_outcome.

    retried: the batch failed as a whole, and these came item by item.
    """

    outcomes: list[Raw]
    retried: bool


class Record(Struct, frozen=True, array_like=True, tag="record"):
    """A load of the worker's log; `stack`: the formatted stack, or nothing."""

    logger: str
    level: int
    text: str
    stack: str


Message: TypeAlias = Prepare | Trial | Run | Quit | Loaded | Refused | Warm | Answer | Record


class ChannelClosed(Exception):
    """The other end is gone."""


def plain(value: Any) -> Any:
    """NumPy scalars and arrays (anything with ``tolist``) as MessagePack can say them; TypeError for other objects."""
    tolist = getattr(value, "tolist", None)
    if not callable(tolist):
        raise TypeError(f"a value of type {type(value).__name__!r} cannot be sent")
    return tolist()


class Channel:
    """One end of the conversation. Any thread may send; one thread receives."""

    def __init__(
        self, sock: socket.socket, death_fd: int | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Takes `sock` over. `death_fd` turns readable when the other process is dead (a pidfd), which can be long
        before its end of the socket closes when it has left children of its own behind.
        """
        self._socket = sock
        self._death_fd = death_fd
        self._clock = clock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        if death_fd is not None:
            self._poller.register(death_fd, select.POLLIN)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=plain)
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
        self._lock = threading.Lock()
        self._received = bytearray()

    def send(self, message: Message) -> None:
        """Blocks while the other end does not read and the socket is full. Raises ChannelClosed when it is gone."""
        frame = self._encoder.encode(message)
        try:
            with self._lock:
                self._socket.sendall(_LENGTH.pack(len(frame)) + frame)
        except OSError as error:
            raise ChannelClosed(str(error)) from None

    def receive(self, until_s: float = math.inf) -> Message:
        """The next message. Waits without the GIL; raises TimeoutError when there is none at `until_s` of the clock,
        and ChannelClosed when the other end is gone and everything it had said was read.
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
                raise ChannelClosed("it died")
        return self._decoder.decode(frame)

    def fileno(self) -> int:
        return self._socket.fileno()

    def hang_up(self) -> None:
        """Neither end can say anything any more; whoever polls the socket sees it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise ChannelClosed(str(error)) from None
        if not data:
            raise ChannelClosed("it closed the channel")
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
