"""HTTP/2 frames as a client sends them, right and wrong, and how a server ends a stream. Enough for gRPC."""

from __future__ import annotations

import struct
from typing import Any

from helpers.raw import Raw

__all__ = [
    "DATA",
    "GOAWAY",
    "HEADERS",
    "PING",
    "PREFACE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "call",
    "end_of",
    "frame",
    "message",
    "open_connection",
    "setting",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW = 4


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0, length: int | None = None) -> bytes:
    """`length`: what its head says, when that is not the truth."""
    n_bytes = len(payload) if length is None else length
    return n_bytes.to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def setting(number: int, value: int) -> bytes:
    return struct.pack("!HI", number, value)


def message(data: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message of gRPC. `length`: what its head says, when that is not the truth."""
    return struct.pack("!BI", compressed, len(data) if length is None else length) + data


def fields(*pairs: tuple[str, str]) -> bytes:
    """Header fields, each a literal."""

    def text(value: str) -> bytes:
        data = value.encode("latin-1")
        assert len(data) < 127
        return bytes([len(data)]) + data

    return b"".join(b"\0" + text(name) + text(value) for name, value in pairs)


def call(path: str, *, stream: int = 1, end: bool = False, **metadata: str) -> bytes:
    """The head of a call."""
    pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *((name.replace("_", "-"), value) for name, value in metadata.items()),
    ]
    return frame(HEADERS, fields(*pairs), flags=END_HEADERS | (END_STREAM if end else 0), stream=stream)


def open_connection(raw: Raw, *settings: tuple[int, int]) -> None:
    raw.send(PREFACE + frame(SETTINGS, b"".join(setting(*one) for one in settings)) + frame(SETTINGS, flags=1))


def end_of(raw: Raw, stream: int = 1) -> str:
    """How the server ends a call: "status", "reset", "goaway" with its reason, or "closed". Reads until then."""
    reader = _Reader(raw)
    while (found := reader.next()) is not None:
        kind, flags, number, payload = found
        if kind == GOAWAY:
            return f"goaway {payload[8:].decode('latin-1')}".strip()
        if number == stream and kind == RST_STREAM:
            return "reset"
        if number == stream and kind == HEADERS and flags & END_STREAM:
            return "status"
    return "closed"


class _Reader:
    def __init__(self, raw: Raw) -> None:
        self._socket = raw.socket
        self._data = b""

    def next(self) -> tuple[int, int, int, bytes] | None:
        head = self._take(9)
        if head is None:
            return None
        kind, flags, number = struct.unpack("!BBI", head[3:])
        payload = self._take(int.from_bytes(head[:3], "big"))
        return None if payload is None else (kind, flags, number & 0x7FFFFFFF, payload)

    def _take(self, n_bytes: int) -> bytes | None:
        while len(self._data) < n_bytes:
            try:
                more: Any = self._socket.recv(65_536)
            except ConnectionError:
                return None
            if not more:
                return None
            self._data += more
        taken, self._data = self._data[:n_bytes], self._data[n_bytes:]
        return taken
