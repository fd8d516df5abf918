"""One websocket of the load generator: a bare asyncio protocol, without tasks, queues and locks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from voxgate.client import normalize_addr
from voxgate.client.wires import check_wire
from voxgate.errors import InvalidMessage
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import parse_event
from voxgate.protocol.requests import Start
from voxgate.protocol.tokens import clean_token

from .connection import NO_CODE, Clock, Connection, Frame
from .frames import BINARY, CLOSE, PING, PONG, FrameError, FrameReader, client_frame

__all__ = ["NO_CODE", "Clock", "LoadWire", "Target", "WebSocket"]

LoadWire: TypeAlias = Literal["native", "grpc"]

_KEY: Final = base64.b64encode(b"voxgate load key").decode()  # 16 bytes, as RFC 6455 requires; it need not be secret
_ACCEPT: Final = base64.b64encode(
    hashlib.sha1(f"{_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
).decode()
_MAX_HEAD_BYTES: Final = 16_384


@dataclass(frozen=True)
class Target:
    """A server: its address and the upgrade request."""

    url: str
    address: tuple[str, int]  # resolved once for all streams
    request: bytes
    tls: ssl.SSLContext | None
    token: str | None = None

    @property
    def is_grpc(self) -> bool:
        return self.url.startswith("grpc")

    @property
    def hostname(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def http(self) -> str:
        """Its root URL for HTTP, without a slash at the end."""
        parts = urlsplit(self.url)
        return f"{'https' if self.tls else 'http'}://{parts.netloc}"

    @classmethod
    def of(cls, addr: str, route: str, token: str | None, wire: LoadWire = "native") -> Target:
        """The server at `addr` (as for voxgate client; a path in it overrides `route`). `grpc://` in it is that wire.

        Raises ValueError for an invalid address or token, OSError for an unknown name. Blocking.
        """
        parts = urlsplit(addr if "://" in addr else f"ws://{addr}")
        path = parts.path if parts.path not in ("", "/") else f"/api/v1/{route}"
        url = normalize_addr(parts._replace(path=path).geturl())
        if wire == "grpc" or url.startswith("grpc"):
            url = check_wire("grpc", url, Start(AudioFormat(1, 16_000, 16, False)))
            return cls(url, ("", 0), b"", None, None if token is None else clean_token(token))
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        lines = [
            f"GET {path}{'?' + parts.query if parts.query else ''} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {_KEY}",
            "Sec-WebSocket-Version: 13",
            "User-Agent: voxgate-load",
        ]
        if token is not None:
            lines.append(f"Authorization: Bearer {clean_token(token)}")
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
        tls = ssl.create_default_context() if parts.scheme == "wss" else None
        return cls(url, (str(found[0]), int(found[1])), request, tls)


class WebSocket(Connection, asyncio.Protocol):
    """Connects, upgrades and receives events."""

    def __init__(self, target: Target, clock: Clock) -> None:
        super().__init__(target, clock)
        self.transport: asyncio.Transport | None = None
        self._head = b""
        self._reader: FrameReader | None = None

    async def connect(self) -> None:
        """Returns once the connection is open or has failed; the upgrade follows."""
        loop = asyncio.get_running_loop()
        self.began_s = self.clock()
        host, port = self.target.address
        try:
            if self.target.tls is None:
                await loop.create_connection(lambda: self, host, port)
            else:
                await loop.create_connection(
                    lambda: self, host, port, ssl=self.target.tls, server_hostname=self.target.hostname
                )
        except OSError as error:
            self._fail("connection refused" if isinstance(error, ConnectionRefusedError) else f"no connection: {error}")

    def write(self, frame: Frame) -> None:
        assert self.transport is not None
        assert isinstance(frame, bytes)
        self.transport.write(frame)

    def unsent_bytes(self) -> int:
        return 0 if self.transport is None or self.is_over else self.transport.get_write_buffer_size()

    def abort(self, failure: str) -> None:
        """Drops the connection, with `failure` as the reason."""
        self._fail(failure)
        if self.transport is not None:
            self.transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if self.is_over:
            transport.abort()
        else:
            transport.write(self.target.request)

    def data_received(self, data: bytes) -> None:
        now_s = self.clock()
        if self.is_over:
            return
        if self._reader is None:
            rest = self._upgrade(data, now_s)
            if not rest:
                return
            data = rest
        assert self._reader is not None
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode == CLOSE:
                    self._closed(payload)
                    return
                if opcode == PING:
                    self.write(client_frame(PONG, payload))
                elif opcode == BINARY:
                    raise FrameError("a binary message")
                elif opcode == PONG:
                    self.ponged()
                else:
                    self.received(parse_event(payload), now_s)
        except (FrameError, InvalidMessage) as error:
            self.abort(f"the server sent an invalid event: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        if self._reader is None and not self._head and self.target.tls is None:
            self._fail("closed without an answer to the upgrade (the address of a server with TLS begins with wss://)")
        self._fail("the connection was lost without a close frame")

    # Private

    def _upgrade(self, data: bytes, now_s: float) -> bytes:
        """Parses the head of the answer; returns the bytes after it."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > _MAX_HEAD_BYTES:
                self.abort("no HTTP answer")
            return b""
        lines = head.decode("latin-1").split("\r\n")
        status = lines[0].split(" ", 2)
        if len(status) < 2 or not status[0].startswith("HTTP/1.") or not status[1].isdecimal():
            self.abort("no HTTP answer")
            return b""
        self.status = int(status[1])
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if self.status != 101:
            retry_after = headers.get("retry-after", "")
            if retry_after.isascii() and retry_after.isdecimal():
                self.retry_after_s = int(retry_after)
            self.refusal_reason = _reason(rest)
            self.abort(f"HTTP {self.status}" + (f": {self.refusal_reason}" if self.refusal_reason else ""))
            return b""
        if headers.get("sec-websocket-accept") != _ACCEPT:
            self.abort("the server answered the upgrade with a wrong Sec-WebSocket-Accept")
            return b""
        self.connect_s = now_s - self.began_s
        self._head = b""
        self._reader = FrameReader()
        self.opened()
        return rest

    def _closed(self, payload: bytes) -> None:
        self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
        if self.transport is not None:
            self.write(client_frame(CLOSE, payload[:2]))
            self.transport.close()
        self._end()


def _reason(body: bytes) -> str:
    """The reason in the body of a refusal, if the body arrived with it; one printable line."""
    try:
        text = f"{json.loads(body)['error']:.200}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return "".join(character if character.isprintable() else " " for character in text)
