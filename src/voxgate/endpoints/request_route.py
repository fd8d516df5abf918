"""A path for requests whose body is audio: each client is refused, or its request is served as one session."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from starlette.types import Receive, Scope, Send

from voxgate.endpoints.cors import cors_headers, preflight
from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import HttpAnswer, respond
from voxgate.endpoints.wire import invalid_request, not_served
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import LOST, Close, CloseReason
from voxgate.protocol.events import Event
from voxgate.protocol.machine import Route
from voxgate.protocol.wires import WireName
from voxgate.service.access.addresses import values_of
from voxgate.service.admission import Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received
from voxgate.session.session import Session

__all__ = ["AudioRequest", "RequestEndpoint", "RequestRoute", "close_for", "text_of"]

METHOD_NOT_ALLOWED: Final = "method_not_allowed"


class AudioRequest(NamedTuple):
    """A request of a client that is admitted. `headers`: of every answer to it."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    headers: dict[str, str]

    def header(self, name: bytes) -> str:
        """The values of a header of the request, joined by commas; empty without one."""
        return ", ".join(value.decode("latin-1") for value in values_of(self.scope["headers"], name))


class RequestEndpoint(ABC):
    """What all requests have in common as endpoints: no codes at their end, and no way to send at once. See
    `session.endpoint.Endpoint` for the rest.
    """

    __slots__ = ("departure",)

    waits_for_start: ClassVar[bool] = True
    """The session expects its start within `limits.start_timeout_s`. False: the request has deadlines of its own."""

    def __init__(self) -> None:
        self.departure = Departure(LOST)

    def code_of(self, close: Close) -> None:
        return None

    def listen(self, listener: Listener | None) -> None:
        return None

    def write(self, message: Message) -> bool:
        return False

    @abstractmethod
    async def receive(self) -> Received | None: ...

    @abstractmethod
    def encode(self, event: Event) -> Sequence[Message]: ...

    @abstractmethod
    async def send(self, message: Message) -> None: ...

    @abstractmethod
    async def close(self, close: Close) -> None: ...

    def free(self) -> None:
        """The session is over: gives back what the request holds."""
        return None


class RequestRoute(ABC):
    """One path: any method. A subclass has the words of its API."""

    wire: ClassVar[WireName]
    methods: ClassVar[Sequence[str]] = ("POST",)
    carries_words: ClassVar[bool] = True
    """The API transports words: models without a text are refused."""
    has_websocket: ClassVar[bool] = True
    """The path takes websockets too, on another route."""

    def __init__(self, service: Service, entry: Entry, route: Route = "segmented") -> None:
        self.service = service
        self._entry = entry
        self._route: Route = route
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    @abstractmethod
    def open(self, request: AudioRequest, context: SessionContext) -> RequestEndpoint:
        """The endpoint of an admitted client. Raises VoxgateError for a request that cannot be served."""

    @abstractmethod
    def refuse(self, refusal: Refusal, request_id: str) -> HttpAnswer:
        """The answer to a client that is refused."""

    def token_of(self, scope: Scope, client: ClientInfo) -> str | None:
        """The key of a client, in the header that the API uses."""
        return client.token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate, request_id, method = self.service.gate, str(uuid.uuid4()), scope["method"]
        client = client_of(scope, gate)
        client = client._replace(
            token=self.token_of(scope, client),
            wire=self.wire,
            request_id=None if self.wire == "http" else request_id,
        )
        allowed = ", ".join((*self.methods, "OPTIONS"))
        if method == "OPTIONS":
            await preflight(gate, client, allowed, scope["headers"])(scope, receive, send)
            return
        headers = cors_headers(gate, client)
        if method not in self.methods:
            websocket = ", or a websocket" if self.has_websocket else ""
            text = f"expected {' or '.join(self.methods)} at {scope['path']}{websocket}, got {method:.20}"
            answer = self.refuse(Refusal(RefusalKind.INVALID, METHOD_NOT_ALLOWED, text), request_id)
            headers["allow"] = allowed
            await respond(answer._replace(status=405), headers)(scope, receive, send)
            return
        opened = await self._open(AudioRequest(scope, receive, send, request_id, headers), client)
        if isinstance(opened, Refusal):
            self.service.admission.record(opened, self.wire)
            await respond(self.refuse(opened, request_id), headers)(scope, receive, send)
            return
        endpoint, context, permit = opened
        client = client._replace(identity=permit.identity)
        try:
            session = Session(endpoint, context, self._route, None, client, waits_for_start=endpoint.waits_for_start)
            await session.run()
        finally:
            permit.release()
            endpoint.free()

    async def _open(
        self, request: AudioRequest, client: ClientInfo
    ) -> tuple[RequestEndpoint, SessionContext, Permit] | Refusal:
        path = request.scope["path"]
        unserved = not_served(self.service, self._entry, self._route, self.carries_words, path)
        if unserved is not None:
            return unserved
        permit = await self._entry.admit(client)
        if isinstance(permit, Refusal):
            return permit
        if self._context is None:
            self._context = SessionContext.of(self.service)
        try:
            return self.open(request, self._context), self._context, permit
        except VoxgateError as error:
            permit.release()
            return invalid_request(error)
        except BaseException:
            permit.release()
            raise


_REASONS: Final = {
    408: CloseReason.TIMEOUT,
    413: CloseReason.TOO_LARGE,
    500: CloseReason.INTERNAL,
    503: CloseReason.OVERLOADED,
}


def close_for(status: int, limit: str | None = None) -> Close:
    """How a session ends whose request is answered with the error `status`. `limit`: as in `Close`."""
    return Close(_REASONS.get(status, CloseReason.INVALID), limit=limit)


def text_of(close: Close) -> str:
    """Why the server ends a request, for people."""
    if close.reason is CloseReason.DRAINING:
        return "the server shuts down: try again"
    return close.text or f"the server ended the request: {close.reason}"
