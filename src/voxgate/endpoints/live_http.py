"""Live streams over plain HTTP: audio in the body of a request, events in its answer while the body still arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Literal

from msgspec import structs

from voxgate.endpoints.query import says_no_format, start_of
from voxgate.endpoints.refusals import HttpAnswer, answer_of
from voxgate.endpoints.request_route import AudioRequest, RequestEndpoint, RequestRoute, text_of
from voxgate.endpoints.websocket import SHORTCUT
from voxgate.endpoints.start_check import check_opens
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.protocol.formats import AUTO, ContainerFormat
from voxgate.protocol.json_codec import encode_event
from voxgate.protocol.requests import Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.session.context import SessionContext
from voxgate.session.decoding import is_raw_audio
from voxgate.session.endpoint import Departure, Listener, Message, Received

__all__ = ["HttpStream", "LiveHttpRoute"]

Form = Literal["lines", "sse"]

EVENT_STREAM: Final = "text/event-stream"
CONTENT_TYPES: Final[Mapping[Form, str]] = {"lines": "application/x-ndjson", "sse": EVENT_STREAM}
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
    "X-Content-Type-Options": "nosniff",
}


class HttpStream(RequestEndpoint):
    """A request whose body is the audio of one session. The head of its answer comes before any audio."""

    __slots__ = (
        *("_form", "_guess_s", "_has_begun", "_has_body", "_headers", "_last_error"),
        *("_receive", "_send", "_shortcut", "_unsaid", "_waiting"),
    )

    def __init__(self, request: AudioRequest, start: Start, form: Form, guess_s: float | None = None) -> None:
        """`guess_s`: the first bytes of the body decide, within this time, between the format of `start` and a
        container.
        None: the format is as `start` says.
        """
        super().__init__()
        self._receive = request.receive
        self._send = request.send
        extensions = request.scope.get("extensions", {})
        self._shortcut: Callable[[Listener | None], None] | None = extensions.get(SHORTCUT)
        self._headers = request.headers
        self._form: Form = form
        self._waiting: list[Received] = [] if guess_s is not None else [start]
        self._guess_s = guess_s
        self._unsaid = start if guess_s is not None else None
        self._has_begun = self._has_body = False
        self._last_error = ""

    async def receive(self) -> Received | None:
        await self._begin()
        if self._unsaid is not None:
            return await self._first(self._unsaid)
        return await self._next()

    async def _first(self, start: Start) -> Received | None:
        """The start, as soon as the first bytes tell its format, or have not come in time."""
        head, is_raw = b"", None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._guess_s):
                while is_raw is None and not self._has_body:
                    message = await self._next()
                    if message is None:
                        return None
                    if isinstance(message, bytes):
                        head += message
                        is_raw = is_raw_audio(head, is_all=False)
                    else:
                        self._waiting.insert(0, message)  # the end of the body
        if is_raw is None:
            is_raw = is_raw_audio(head, is_all=True)
        self._unsaid = None
        if head:
            self._waiting.insert(0, head)
        return start if is_raw else structs.replace(start, format=ContainerFormat(AUTO))

    async def _next(self) -> Received | None:
        if self._waiting:
            return self._waiting.pop(0)
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                self.departure = Departure(LEFT if self._has_body else LOST)
                return None
            if not message.get("more_body", False):
                self._has_body = True
                self._waiting.append(Stop(disconnect=True))
            body: bytes = message.get("body", b"")
            if body:
                return body
            if self._waiting:
                return self._waiting.pop(0)

    def listen(self, listener: Listener | None) -> None:
        if self._shortcut is not None:
            self._shortcut(listener)

    def encode(self, event: Event) -> Sequence[Message]:
        text = encode_event(event)
        if isinstance(event, Error):
            self._last_error = event.code
        return (f"{text}\n" if self._form == "lines" else f"event: {event.type}\ndata: {text}\n\n",)

    async def send(self, message: Message) -> None:
        body = message.encode() if isinstance(message, str) else message
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def close(self, close: Close) -> None:
        await self._begin()
        # HTTP has no close code: without this, a stream that the server cut short would look complete.
        if close.reason is not CloseReason.COMPLETED and close.reason != self._last_error:
            for message in self.encode(Error(text_of(close), close.reason)):
                await self.send(message)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            fields = {"Content-Type": CONTENT_TYPES[self._form], **HEADERS, **self._headers}
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": raw})


class LiveHttpRoute(RequestRoute):
    """One streaming route over HTTP."""

    wire: ClassVar[WireName] = "http"
    methods = ("POST", "PUT")
    """`curl -T -` sends PUT."""
    carries_words = False

    def refuse(self, refusal: Refusal, request_id: str) -> HttpAnswer:
        return answer_of(refusal)

    def open(self, request: AudioRequest, context: SessionContext) -> HttpStream:
        query, content_type = request.scope["query_string"], request.header(b"content-type")
        start = start_of(query, content_type)
        is_unsaid = says_no_format(query, content_type)
        check_opens(structs.replace(start, format=ContainerFormat(AUTO)) if is_unsaid else start, self._route, context)
        form: Form = "sse" if EVENT_STREAM in request.header(b"accept") else "lines"
        # A body that has not begun by then is raw: its session begins, and ends by `limits.idle_timeout_s` if need be.
        limits = context.config.limits
        guess_s = min(limits.start_timeout_s, limits.idle_timeout_s) / 2
        return HttpStream(request, start, form, guess_s if is_unsaid else None)
