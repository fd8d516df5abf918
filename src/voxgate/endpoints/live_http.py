"""Live streams over plain HTTP: audio in the body of a request, events in its answer while the body still arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

from voxgate.endpoints.query import start_of
from voxgate.endpoints.refusals import HttpAnswer, answer_of
from voxgate.endpoints.request_route import AudioRequest, RequestEndpoint, RequestRoute, text_of
from voxgate.errors import InvalidStart
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.protocol.json_codec import encode_event
from voxgate.protocol.machine import Reply, SessionMachine
from voxgate.protocol.requests import Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Message, Received

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

    __slots__ = ("_form", "_has_begun", "_has_body", "_headers", "_last_error", "_receive", "_send", "_waiting")

    def __init__(self, request: AudioRequest, start: Start, form: Form) -> None:
        super().__init__()
        self._receive = request.receive
        self._send = request.send
        self._headers = request.headers
        self._form: Form = form
        self._waiting: list[Received] = [start]
        self._has_begun = self._has_body = False
        self._last_error = ""

    async def receive(self) -> Received | None:
        await self._begin()
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
        start = start_of(request.scope["query_string"], request.header(b"content-type"))
        self._check(context, start)
        form: Form = "sse" if EVENT_STREAM in request.header(b"accept") else "lines"
        return HttpStream(request, start, form)

    def _check(self, context: SessionContext, start: Start) -> None:
        """Raises InvalidStart for a start that the session would refuse: then the status can still say so."""
        for action in SessionMachine(
            context.config.limits,
            context.vad,
            self._route,
            check_options=context.session_options.parse,
            turn=context.turn,
        ).receive(start):
            if isinstance(action, Reply) and isinstance(action.event, Error):
                raise InvalidStart(action.event.message)
