"""The messages between the server and a decoder process, over a socket.

A message is its kind, the number of its stream, and bytes. For each stream, requests and answers alternate: the server
sends Kind.DATA, Kind.MORE or Kind.END, and the decoder answers each with exactly one message. So neither side ever
holds more than one message of a stream, and a decoder that does not answer hangs.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

__all__ = ["MessageReader", "Kind", "Message", "encode"]

_HEAD: Final = struct.Struct("<IBI")


class Kind(IntEnum):
    """What a message is."""

    OPEN = 0
    """Server: a stream begins; the bytes name its container. Not answered."""
    DATA = 1
    """Server: bytes of the container."""
    MORE = 2
    """Server: the answer was taken, what comes next?"""
    END = 3
    """Server: no more data follows, what comes next?"""
    CLOSE = 4
    """Server: the stream is not needed any more. Not answered."""
    READY = 5
    """Decoder, of no stream: it serves."""
    HEADER = 6
    """Decoder: the format of the PCM, as JSON."""
    PCM = 7
    """Decoder: a piece of PCM."""
    WANTS = 8
    """Decoder: it needs data."""
    OVER = 9
    """Decoder: everything is decoded; what follows does not matter."""
    FAILED = 10
    """Decoder: the code and the text of a MediaError, as JSON."""


class Message(NamedTuple):
    """One message."""

    kind: Kind
    stream: int
    data: bytes = b""


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return _HEAD.pack(len(message.data), message.kind, message.stream) + message.data


class MessageReader:
    """Messages from bytes that are cut anywhere."""

    def __init__(self) -> None:
        self._received = bytearray()

    def push(self, data: bytes) -> list[Message]:
        """The messages that `data` completes."""
        received = self._received
        received += data
        messages = []
        at = 0
        while len(received) - at >= _HEAD.size:
            length, kind, stream = _HEAD.unpack_from(received, at)
            if len(received) - at < _HEAD.size + length:
                break
            at += _HEAD.size
            messages.append(Message(Kind(kind), stream, bytes(received[at : at + length])))
            at += length
        del received[:at]
        return messages
