"""Live streams over plain HTTP: audio in the body of a request, events in its answer while the body still arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from starlette.types import Receive, Scope, Send

from voxgate.endpoints.cors import cors_headers, preflight
from voxgate.endpoints.peer import client_of
from voxgate.endpoints.query import start_of
from voxgate.endpoints.refusals import HttpAnswer, answer_of, respond
from voxgate.endpoints.wire import invalid_request
from voxgate.errors import InvalidStart, VoxgateError
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.protocol.json_codec import encode_event
from voxgate.protocol.machine import Reply, Route, SessionMachine
from voxgate.protocol.requests import Start, Stop
from voxgate.service.admission import Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received
from voxgate.session.session import Session

__all__ = ["HttpStream", "LiveHttpRoute", "header_of"]

Form = Literal["lines", "sse"]

METHODS: Final = "POST, PUT, OPTIONS"
"""`curl -T -` sends PUT."""

EVENT_STREAM: Final = "text/event-stream"
CONTENT_TYPES: Final[Mapping[Form, str]] = {"lines": "application/x-ndjson", "sse": EVENT_STREAM}
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
    "X-Content-Type-Options": "nosniff",
}


class HttpStream:
    """A request whose body is the audio of one session, as an endpoint. The head of the response is sent already."""

    __slots__ = ("_form", "_has_body", "_last_error", "_receive", "_send", "_waiting", "departure")

    def __init__(self, receive: Receive, send: Send, start: Start, form: Form) -> None:
        self._receive = receive
        self._send = send
        self._form = form
        self._waiting: list[Received] = [start]
        self._has_body = False
        self._last_error = ""
        self.departure = Departure(LOST)

    def code_of(self, close: Close) -> None:
        return None

    async def receive(self) -> Received | None:
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
        pass

    def encode(self, event: Event) -> Sequence[Message]:
        text = encode_event(event)
        if isinstance(event, Error):
            self._last_error = event.code
        return (f"{text}\n" if self._form == "lines" else f"event: {event.type}\ndata: {text}\n\n",)

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        body = message.encode() if isinstance(message, str) else message
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def close(self, close: Close) -> None:
        # HTTP has no close code: without this, a stream that the server cut short would look complete.
        if close.reason is not CloseReason.COMPLETED and close.reason != self._last_error:
            for message in self.encode(Error(close.text or f"the stream ends: {close.reason}", close.reason)):
                await self.send(message)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class LiveHttpRoute:
    """One streaming route over HTTP: any method of its path."""

    def __init__(self, service: Service, entry: Entry, route: Route) -> None:
        self._service = service
        self._entry = entry
        self._route = route
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._service.gate
        client = client_of(scope, gate)._replace(wire="http")
        if scope["method"] == "OPTIONS":
            await preflight(gate, client, METHODS)(scope, receive, send)
            return
        if scope["method"] not in ("POST", "PUT"):
            text = f"expected POST or PUT at {scope['path']}, or a websocket, got {scope['method']:.20}"
            answer = HttpAnswer(405, {"error": text, "code": "method_not_allowed"}, {"allow": METHODS})
            await respond(answer)(scope, receive, send)
            return
        permit = await self._admit(scope, client)
        if isinstance(permit, Refusal):
            await self._refuse(permit, client, scope, receive, send)
            return
        try:
            await self._serve(scope, receive, send, client._replace(identity=permit.identity))
        finally:
            permit.release()

    async def _refuse(self, refusal: Refusal, client: ClientInfo, scope: Scope, receive: Receive, send: Send) -> None:
        self._service.admission.record(refusal)
        response = respond(answer_of(refusal))
        response.headers.update(cors_headers(self._service.gate, client))
        await response(scope, receive, send)

    async def _admit(self, scope: Scope, client: ClientInfo) -> Permit | Refusal:
        unserved = self._entry.why_unserved(self._route)
        if unserved is not None:
            return Refusal(RefusalKind.NOT_SERVED, "not_served", f"{scope['path']} is not served: {unserved}")
        return await self._entry.admit(client)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, client: ClientInfo) -> None:
        context = self._context
        if context is None:
            context = self._context = SessionContext.of(self._service)
        try:
            start = start_of(scope["query_string"], header_of(scope, b"content-type"))
            self._check(context, start)
        except VoxgateError as error:
            await self._refuse(invalid_request(error), client, scope, receive, send)
            return
        form: Form = "sse" if EVENT_STREAM in header_of(scope, b"accept") else "lines"
        fields = {"Content-Type": CONTENT_TYPES[form], **HEADERS, **cors_headers(self._service.gate, client)}
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await Session(HttpStream(receive, send, start, form), context, self._route, None, client).run()

    def _check(self, context: SessionContext, start: Start) -> None:
        """Raises InvalidStart for a start that the session would refuse: then the status can still say so."""
        for action in SessionMachine(
            context.config.limits, context.vad, self._route, check_options=context.session_options.parse
        ).receive(start):
            if isinstance(action, Reply) and isinstance(action.event, Error):
                raise InvalidStart(action.event.message)


def header_of(scope: Scope, name: bytes) -> str:
    """The values of a header, joined by commas; empty without one."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
