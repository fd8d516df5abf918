"""Websocket frames for a load generator: made once per piece of audio, and read at little cost. No I/O.

A thousand connections at 50 messages a second each, from one core, leave about 20 us per message. A frame is made once
and sent by every stream, and the server's short text messages are sliced out of the received bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["BINARY", "CLOSE", "PING", "PONG", "TEXT", "FrameError", "FrameReader", "client_frame"]

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_MAX_CONTROL_BYTES: Final = 125
# RFC 6455 requires masks with unpredictable keys, so that a web page cannot choose the bytes that a proxy sees. No web
# page is involved here: all frames share one key, and so each frame can be sent more than once.
_MASK: Final = b"\x37\xfa\x21\x3d"


class FrameError(ValueError):
    """The server sent bytes that are not websocket frames."""


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A whole message of a client as one frame, masked."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    key = np.resize(np.frombuffer(_MASK, np.uint8), length)
    return head + _MASK + np.bitwise_xor(np.frombuffer(payload, np.uint8), key).tobytes()


class FrameReader:
    """Turns the bytes of a server, cut anywhere, into messages. A message longer than `max_bytes` is an error."""

    def __init__(self, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._opcode = CONTINUATION  # of the message whose fragments are coming; CONTINUATION: of none
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages and control frames that `data` completes: (opcode, payload).

        Raises FrameError, after which the reader cannot be used.
        """
        # Almost every message of a server: one short text frame in one piece.
        if not self._rest and len(data) > 1 and data[0] == 0x81 and not self._opcode:
            length = data[1]
            if length < 126 and len(data) == length + 2:
                return [(TEXT, data[2:])]
        if self._rest:
            data = self._rest + data
        messages: list[tuple[int, bytes]] = []
        offset, end = 0, len(data)
        while end - offset >= 2:
            first, length = data[offset], data[offset + 1]
            self._check(first, length)
            start = offset + 2
            if length == 126:
                start += 2
            elif length == 127:
                start += 8
            if start > end:
                break
            if length > 125:
                length = int.from_bytes(data[offset + 2 : start], "big")
            if length + self._fragment_bytes > self._max_bytes:
                raise FrameError(f"a message of more than {self._max_bytes} bytes")
            if start + length > end:
                break
            offset = start + length
            self._take(first, data[start:offset], messages)
        self._rest = data[offset:]
        return messages

    def _check(self, first: int, length: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError("reserved bits are set")
        if opcode not in _OPCODES:
            raise FrameError(f"opcode {opcode}")
        if length & 0x80:
            raise FrameError("a masked frame from a server")
        if opcode >= CLOSE:
            if length > _MAX_CONTROL_BYTES:
                raise FrameError("a control frame of more than 125 bytes")
            if not first & 0x80:
                raise FrameError("a control frame in fragments")
        elif (opcode == CONTINUATION) is (self._opcode == CONTINUATION):
            raise FrameError("a fragment of no message" if opcode == CONTINUATION else "a message inside of a message")

    def _take(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        opcode, is_last = first & 0x0F, first & 0x80
        if opcode >= CLOSE or (is_last and not self._opcode):
            messages.append((opcode, payload))
        else:
            self._opcode = self._opcode or opcode
            self._fragments.append(payload)
            self._fragment_bytes += len(payload)
            if is_last:
                messages.append((self._opcode, b"".join(self._fragments)))
                self._opcode, self._fragments, self._fragment_bytes = CONTINUATION, [], 0
