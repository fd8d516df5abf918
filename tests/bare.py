"""A client without a library: it can leave out whatever a library would do."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
TIMEOUT_S = 30


def frame(opcode: int, payload: bytes = b"", fin: bool = True, length: int | None = None) -> bytes:
    """A masked frame (with a mask of zeros); `length`: what its header says, if not the truth."""
    n = len(payload) if length is None else length
    head = struct.pack("!B", opcode | (0x80 if fin else 0))
    if n < 126:
        head += struct.pack("!B", 0x80 | n)
    elif n < 65536:
        head += struct.pack("!BH", 0x80 | 126, n)
    else:
        head += struct.pack("!BQ", 0x80 | 127, n)
    return head + bytes(4) + payload


def request(path: str = "/api/v1/segmented", *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


class Raw:
    """``with Raw(port) as raw``: an open websocket; `upgrade=False`: the bare connection."""

    def __init__(self, port: int, upgrade: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._data = b""
        if upgrade:
            self.send(request())
            head = self.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def start(self, **options: Any) -> None:
        audio = {"channels": 1, "sample_rate": 16000, "bit_depth": 16, "is_float": False}
        self.send(frame(TEXT, json.dumps({"request": "start", "format": audio, **options}).encode()))

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._data += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        while end not in self._data:
            assert self._more(), self._data
        head, _, self._data = self._data.partition(end)
        return head

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self._more():
            pass
        return self._data

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server: opcode and payload. None: the connection is gone."""
        while True:
            if len(self._data) >= 2:
                n, pos = self._data[1], 2
                if n == 126 and len(self._data) >= 4:
                    n, pos = struct.unpack("!H", self._data[2:4])[0], 4
                if n != 126 and len(self._data) >= pos + n:
                    opcode, payload = self._data[0] & 15, self._data[pos : pos + n]
                    self._data = self._data[pos + n :]
                    return opcode, payload
            if not self._more():
                return None

    def end(self) -> tuple[list[dict[str, Any]], int | None]:
        """The events up to the close frame, and its code."""
        events = []
        while (received := self.frame()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                return events, struct.unpack("!H", payload[:2])[0]
            if opcode == TEXT:
                events.append(json.loads(payload))
        return events, None
