"""A websocket client made of a plain socket, which can do everything wrong that a client can."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any

from helpers.event_reader import EventReader

TIMEOUT_S = 30
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """One frame as a client sends it. `length`: what its header says, when that is not the truth."""
    n_bytes = len(payload) if length is None else length
    first = fin << 7 | reserved << 4 | opcode
    mask_bit = masked << 7
    if n_bytes < 126:
        head = struct.pack("!BB", first, mask_bit | n_bytes)
    elif n_bytes < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, n_bytes)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, n_bytes)
    # A key of zeros changes nothing: masked, and as quick to make as not.
    return head + (bytes(4) if masked else b"") + payload


def text(message: str | dict[str, Any]) -> bytes:
    return frame(TEXT, (json.dumps(message) if isinstance(message, dict) else message).encode())


def upgrade(path: str, host: str = "localhost", **headers: str | None) -> bytes:
    """The request for a websocket; a header that is None is left out, underscores are hyphens."""
    fields: dict[str, str | None] = {
        "host": host,
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
        "sec-websocket-version": "13",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Raw(EventReader):
    """A connection. `receive_buffer_bytes`: how little its kernel takes in while nobody reads."""

    def __init__(self, port: int, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self._read = bytearray()
        self.close_code: int | None = None
        self.close_reason = ""
        self.pongs: list[bytes] = []

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.socket.close()

    # Out

    def send(self, data: bytes) -> bool:
        """False when the server has closed the connection."""
        try:
            self.socket.sendall(data)
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            return False
        return True

    def say(self, *messages: str | bytes | dict[str, Any]) -> bool:
        """Whole messages: text, a request, or audio."""
        return self.send(b"".join(frame(BINARY, m) if isinstance(m, bytes) else text(m) for m in messages))

    def reset(self) -> None:
        """Gone, with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # In

    def open(self, path: str = "/api/v1/segmented", **headers: str | None) -> Raw:
        """The handshake, which must succeed."""
        self.send(upgrade(path, **headers))
        status, _, body = self.response()
        assert status == 101, (status, body)
        return self

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an HTTP response; status 0 when the server hung up without one."""
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                return 0, {}, b""
        head, _, rest = bytes(self._read).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        self._read = bytearray(rest)
        if status == 101:
            return status, headers, b""
        while len(self._read) < int(headers.get("content-length", 1 << 30)) and self._more():
            pass
        body, self._read = bytes(self._read), bytearray()
        return status, headers, body

    def receive_frame(self) -> tuple[int, bytes] | None:
        """The next frame, whatever it is; None at the end of the connection."""
        while True:
            read = self._read
            if len(read) >= 2:
                size, head = read[1] & 127, 2
                if size == 126 and len(read) >= 4:
                    size, head = int.from_bytes(read[2:4]), 4
                elif size == 127 and len(read) >= 10:
                    size, head = int.from_bytes(read[2:10]), 10
                if (size < 126 or head > 2) and len(read) >= head + size:
                    opcode, payload = read[0] & 15, bytes(read[head : head + size])
                    del read[: head + size]
                    return opcode, payload
            if not self._more():
                return None

    def receive(self) -> dict[str, Any] | None:
        """The next event; None when the server has closed (see `close_code`: 1006 without a close frame)."""
        while (came := self.receive_frame()) is not None:
            opcode, payload = came
            if opcode == TEXT:
                event: dict[str, Any] = json.loads(payload)
                return event
            if opcode == PONG:
                self.pongs.append(payload)
            if opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2]) if payload else 1005
                self.close_reason = payload[2:].decode()
                self.send(frame(CLOSE, payload[:2]))
                while self._more():
                    pass
                return None
        if self.close_code is None:
            self.close_code = 1006
        return None

    def read_until(self, end: bytes) -> bytes:
        """What comes, up to and with `end`."""
        while end not in self._read:
            assert self._more(), bytes(self._read)
        head, _, rest = bytes(self._read).partition(end)
        self._read = bytearray(rest)
        return head + end

    def wait_for_end(self) -> bytes:
        """Everything until the server ends the connection."""
        while self._more():
            pass
        return bytes(self._read)

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            return False
        self._read += data
        return bool(data)
