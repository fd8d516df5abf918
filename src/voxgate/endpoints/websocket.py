"""An accepted websocket, on whatever API: messages in and out of ASGI, their limits, and the end."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from voxgate._native.text_audio import TextAudio
from voxgate.endpoints.wire import CLOSE_CODES, Wire
from voxgate.errors import StreamTimeout, VoxgateError
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Event
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected
from voxgate.session.send_queue import utf8_bytes

__all__ = ["WebSocket"]

NO_CODE: Final = 1005  # a close frame without a code
NO_FRAME: Final = 1006
INVALID_CODES: Final = (1002, 1003, 1007)  # the websocket itself closed: the client broke its rules
TOO_LARGE_CODE: Final = 1009

SHORTCUT: Final = "voxgate.shortcut"
"""The ASGI extension of our own server (server.websocket, server.http): sets the listener of audio, and on a websocket
what finds it in text."""

ENCODE: Final = "voxgate.encode"
"""We set it: the server itself may have an error to tell, in the words of the API."""

WRITE: Final = "voxgate.write"
"""The other one: sends a message at once, and returns True, or returns False without any effect."""


class WebSocket:
    """An accepted ASGI websocket as an endpoint. It uses ASGI directly: nothing else runs for each message."""

    __slots__ = (
        *("_max_bytes", "_receive", "_send", "_shortcut", "_tally", "_waiting", "_wire"),
        *("departure", "encode", "write"),
    )

    def __init__(self, wire: Wire, scope: Scope, receive: Receive, send: Send, max_bytes: int, tally: Tally) -> None:
        """`max_bytes`: the largest message."""
        self._wire = wire
        # Of the last text message; the session receives all of it before anything can come past `receive`.
        self._waiting: deque[Received] = deque(() if wire.start is None else (wire.start,))
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._tally = tally
        self._shortcut: Callable[[Listener | None, TextAudio | None], None] | None = scope["extensions"].get(SHORTCUT)
        self.encode: Callable[[Event], Sequence[Message]] = wire.encode
        scope["extensions"][ENCODE] = wire.encode
        self.write: Callable[[Message], bool] = scope["extensions"].get(WRITE, _cannot_write)
        self.departure = Departure(LOST, NO_FRAME)

    def code_of(self, close: Close) -> int:
        return self._wire.code_of(close)

    async def receive(self) -> Received | None:
        while not self._waiting:
            message = await self._receive()
            if message["type"] != "websocket.receive":
                self.departure = self._departure_of(message.get("code") or NO_CODE, message.get("reason") or "")
                return None
            if self._wire.ending is not None:
                return Rejected(close=self._wire.ending)
            data: bytes | None = message.get("bytes")
            if data is None:
                self._waiting.extend(self._read(message["text"]))
            elif len(data) <= self._max_bytes:
                return data
            else:
                self._tally.binary[0] += 1
                self._tally.binary[1] += len(data)
                return self._too_large()
        return self._waiting.popleft()

    def _read(self, text: str) -> Sequence[Received]:
        n_bytes = utf8_bytes(text)
        self._tally.text[0] += 1
        self._tally.text[1] += n_bytes
        if n_bytes > self._max_bytes:
            return (self._too_large(),)
        try:
            return self._wire.read(text)
        except VoxgateError as error:
            return (Rejected(error),)

    def listen(self, listener: Listener | None) -> None:
        if self._shortcut is not None:
            self._shortcut(listener, self._wire.text_audio)

    async def send(self, message: Message) -> None:
        # Servers raise OSError, or a subclass, when the client is gone, and RuntimeError when they closed the websocket
        # because the client broke its rules.
        with contextlib.suppress(OSError, RuntimeError):
            kind = "text" if isinstance(message, str) else "bytes"
            await self._send({"type": "websocket.send", kind: message})

    async def close(self, close: Close) -> None:
        wire = self._wire
        for message in wire.farewell(close):
            await self.send(message)
        with contextlib.suppress(OSError, RuntimeError):  # the latter when the closing handshake has begun
            await self._send({"type": "websocket.close", "code": wire.code_of(close), "reason": wire.reason_of(close)})

    def _too_large(self) -> Rejected:
        text = f"message larger than {self._max_bytes} bytes"
        return Rejected(close=Close(CloseReason.TOO_LARGE, text, "message_bytes"))

    @staticmethod
    def _departure_of(code: int, reason: str) -> Departure:
        """`code` and `reason` are those of the client's close frame, or of the one that the websocket itself sent to a
        client which broke its rules.
        """
        if code in INVALID_CODES:
            return Departure(CloseReason.INVALID, code)
        if code == TOO_LARGE_CODE:
            return Departure(
                CloseReason.TOO_LARGE, code, "message_fragments" if "fragments" in reason else "message_bytes"
            )
        if (code, reason) == (CLOSE_CODES[CloseReason.TIMEOUT], StreamTimeout.code):
            return Departure(CloseReason.TIMEOUT, code, "message_timeout_s")
        return Departure(LOST if code == NO_FRAME else LEFT, code)


def _cannot_write(message: Message) -> bool:
    """On a server without the extension."""
    return False
