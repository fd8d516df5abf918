"""What the websocket APIs of other services have in common, as connections of the native wire."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection

__all__ = ["TranslatedConnection"]


class TranslatedConnection(ABC):
    """Audio goes as it is; requests and events are translated. See `Connection` for the methods."""

    words: ClassVar[Mapping[str, str]] = {}
    """The type of the message for each request of the native wire; any other is a `KeepAlive`."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._waiting: deque[str] = deque()

    async def send(self, message: str | bytes | memoryview, /) -> None:
        if not isinstance(message, str):
            await self._websocket.send(message)
        elif (request := json.loads(message)["request"]) != "start":
            await self._say({"type": self.words.get(request, "KeepAlive")})

    async def recv(self) -> str:
        while not self._waiting:
            await self._receive()
        return self._waiting.popleft()

    async def close(self, code: int = 1000) -> None:
        await self._websocket.close(code)

    async def _receive(self) -> None:
        """Reads one message, or raises ConnectionClosed."""
        self._read(json.loads(await self._websocket.recv()))

    @abstractmethod
    def _read(self, message: dict[str, Any]) -> None:
        """A message of the server: calls `_tell` for each event in it."""

    async def _say(self, message: Mapping[str, Any]) -> None:
        await self._websocket.send(json.dumps(message))

    def _tell(self, channel: int = 0, **fields: Any) -> None:
        """An event of the native wire, for the user of the connection."""
        self._waiting.append(json.dumps({**fields, "channel": channel}))
