"""The native wire: JSON and binary audio over a websocket, as docs/protocol.md describes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import refuse_upgrade
from voxgate.errors import InvalidMessage, StreamTimeout, VoxgateError
from voxgate.observe.metrics import Tally
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Event
from voxgate.protocol.json_codec import encode_event, parse_request
from voxgate.protocol.machine import Route
from voxgate.service.access import SUBPROTOCOL
from voxgate.service.admission import Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected
from voxgate.session.send_queue import utf8_bytes
from voxgate.session.session import Session

__all__ = ["CLOSE_CODES", "StreamRoute", "WebSocket"]

CLOSE_CODES: Final = {
    CloseReason.COMPLETED: 1000,
    CloseReason.DRAINING: 1001,
    CloseReason.INVALID: 1008,
    CloseReason.TIMEOUT: 1008,
    CloseReason.UNAUTHORIZED: 1008,
    CloseReason.TOO_LARGE: 1009,
    CloseReason.INTERNAL: 1011,
    CloseReason.OVERLOADED: 1013,
}

NO_CODE: Final = 1005  # a close frame without a code
NO_FRAME: Final = 1006
INVALID_CODES: Final = (1002, 1003, 1007)  # the websocket itself closed: the client broke its rules
TOO_LARGE_CODE: Final = 1009

SHORTCUT: Final = "voxgate.shortcut"
"""The ASGI extension of our own server (server.websocket)."""


class WebSocket:
    """An accepted ASGI websocket as an endpoint. It uses ASGI directly: nothing else runs for each message."""

    __slots__ = ("_max_bytes", "_receive", "_send", "_shortcut", "_tally", "departure")

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int, tally: Tally) -> None:
        """`max_bytes`: the largest message."""
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._tally = tally
        self._shortcut: Callable[[Listener | None], None] | None = scope["extensions"].get(SHORTCUT)
        self.departure = Departure(LOST, NO_FRAME)

    def code_of(self, close: Close) -> int:
        return CLOSE_CODES[close.reason]

    async def receive(self) -> Received | None:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.departure = self._departure_of(message.get("code") or NO_CODE, message.get("reason") or "")
            return None
        data: bytes | None = message.get("bytes")
        if data is not None:
            if len(data) <= self._max_bytes:
                return data
            self._tally.binary[0] += 1
            self._tally.binary[1] += len(data)
            return self._too_large()
        text: str = message["text"]
        n_bytes = utf8_bytes(text)
        self._tally.text_in += 1
        self._tally.text_in_bytes += n_bytes
        if n_bytes > self._max_bytes:
            return self._too_large()
        try:
            return parse_request(text)
        except InvalidMessage as error:
            return Rejected(error)

    def listen(self, listener: Listener | None) -> None:
        if self._shortcut is not None:
            self._shortcut(listener)

    def encode(self, event: Event) -> Sequence[Message]:
        return (encode_event(event),)

    async def send(self, message: Message) -> None:
        # Servers raise OSError, or a subclass, when the client is gone, and RuntimeError when they closed the websocket
        # because the client broke its rules.
        with contextlib.suppress(OSError, RuntimeError):
            kind = "text" if isinstance(message, str) else "bytes"
            await self._send({"type": "websocket.send", kind: message})

    async def close(self, close: Close) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the latter when the closing handshake has begun
            await self._send({"type": "websocket.close", "code": self.code_of(close), "reason": close.text})

    def _too_large(self) -> Rejected:
        return Rejected(close=Close(CloseReason.TOO_LARGE, f"message larger than {self._max_bytes} bytes"))

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


class StreamRoute:
    """One streaming route: accepts a websocket, or refuses it before the upgrade, and serves it to its end."""

    def __init__(self, service: Service, entry: Entry, route: Route) -> None:
        self._service = service
        self._entry = entry
        self._route = route
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        client = client_of(scope, self._service.gate)
        permit = await self._admit(scope, client)
        if isinstance(permit, Refusal):
            self._service.admission.record(permit)
            await refuse_upgrade(permit, scope, send)
            return
        client = client._replace(identity=permit.identity)
        try:
            accept = {"type": "websocket.accept"}
            if SUBPROTOCOL in scope["subprotocols"]:
                accept["subprotocol"] = SUBPROTOCOL
            await send(accept)
            await self._serve(scope, receive, send, client, permit)
        finally:
            permit.release()

    async def _admit(self, scope: Scope, client: ClientInfo) -> Permit | Refusal:
        unserved = self._entry.why_unserved(self._route)
        if unserved is not None:
            return Refusal(RefusalKind.NOT_SERVED, "not_served", f"{scope['path']} is not served: {unserved}")
        return await self._entry.admit(client)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, client: ClientInfo, permit: Permit) -> None:
        context = self._context
        if context is None:
            context = self._context = SessionContext.of(self._service)

        async def check_token(token: str) -> ClientInfo | VoxgateError:
            return await self._entry.check_token(token, client, permit)

        websocket = WebSocket(scope, receive, send, context.config.limits.message_bytes, context.tally)
        await Session(websocket, context, self._route, check_token if permit.is_pending else None, client).run()
