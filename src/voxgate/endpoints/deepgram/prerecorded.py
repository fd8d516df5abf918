"""``POST /v1/listen``: Deepgram's API for whole recordings. The body is decoded as it arrives."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from voxgate.endpoints.cors import cors_headers, preflight
from voxgate.endpoints.credentials import credentials_in
from voxgate.endpoints.deepgram.errors import failure_answer, refusal_answer
from voxgate.endpoints.deepgram.metadata import Metadata
from voxgate.endpoints.deepgram.query import SCHEMES, Listen, parse_listen
from voxgate.endpoints.deepgram.results import alternative
from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import HttpAnswer, respond
from voxgate.endpoints.wire import check_start, invalid_request, min_silence_ms, why_no_words
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.errors import InvalidStart, VoxgateError
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event, Finished, Segment, Started
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Stop
from voxgate.protocol.transcript import Word
from voxgate.service.admission import Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected
from voxgate.session.session import Session

__all__ = ["PrerecordedRoute", "Recording"]

METHODS: Final = "POST, OPTIONS"

Utterance = tuple[Segment, str, Sequence[Word]]


class Recording:
    """One request as an endpoint: audio in, and one answer at the end."""

    def __init__(self, listen: Listen, metadata: Metadata, receive: Receive, send: Send, max_bytes: int) -> None:
        """`max_bytes`: of the body."""
        self._listen = listen
        self._metadata = metadata
        self._receive = receive
        self._send = send
        self._left_bytes = max_bytes
        self._waiting: list[Received] = [listen.start]
        self._sha256 = hashlib.sha256()
        self._utterances: list[Utterance] = []
        audio_format = listen.start.format
        self._n_channels = audio_format.channels if isinstance(audio_format, AudioFormat) else 1
        self._duration_s = 0.0
        self._failure: HttpAnswer | None = None
        self._is_over = False  # all that matters was received
        self.headers: dict[str, str] = {}
        """Of the response, besides its own."""
        self.departure = Departure(LOST)

    def code_of(self, close: Close) -> None:
        return None

    async def receive(self) -> Received | None:
        if self._waiting:
            return self._waiting.pop(0)
        if self._failure is not None and not self._is_over:
            return self._end(CloseReason.INVALID)
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                self.departure = Departure(LEFT)
                return None
            if self._is_over:
                continue
            if not message.get("more_body", False):
                self._is_over = True
                self._waiting.append(Stop(disconnect=True))
            body: bytes = message.get("body", b"")
            self._left_bytes -= len(body)
            if self._left_bytes < 0:
                self._fail("too_large", "the recording is larger than limits.upload_bytes allows")
                return self._end(CloseReason.TOO_LARGE)
            if body:
                self._sha256.update(body)
                return body
            if self._waiting:
                return self._waiting.pop(0)

    def _end(self, reason: CloseReason) -> Rejected:
        """The rest of the body does not matter."""
        self._is_over = True
        self._waiting.clear()
        return Rejected(close=Close(reason))

    def listen(self, listener: Listener | None) -> None:
        pass

    def encode(self, event: Event) -> Sequence[Message]:
        match event:
            case Segment():
                transcript = transcript_of(event)
                self._utterances.append((event, transcript.text, words_of(event, transcript)))
            case Started() if event.format is not None:
                self._n_channels = event.format.channels
            case Finished():
                self._duration_s = event.received_s
            case Error():  # a missing utterance would look like silence: one that failed fails the whole
                self._fail(event.code, event.message)
        return ()

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        raise AssertionError("events have no messages of their own")

    async def close(self, close: Close) -> None:
        if close.reason is not CloseReason.COMPLETED:
            self._fail(close.reason, close.text or f"the request ends: {close.reason}")
        answer = self._failure
        if answer is None:
            answer = HttpAnswer(200, self._body, {"dg-request-id": self._metadata.request_id})
        response = respond(answer)
        response.headers.update(self.headers)
        await response({"type": "http"}, self._receive, self._send)

    def _fail(self, code: str, text: str) -> None:
        if self._failure is None:
            self._failure = failure_answer(code, text, self._metadata.request_id)

    @property
    def _body(self) -> dict[str, Any]:
        results: dict[str, Any] = {"channels": [self._channel(number) for number in range(self._n_channels)]}
        if self._listen.utterances:
            results["utterances"] = [_utterance(*utterance) for utterance in self._sorted]
        metadata = self._metadata.at_end(self._duration_s, self._n_channels, self._sha256.hexdigest())
        return {"metadata": metadata, "results": results}

    @property
    def _sorted(self) -> list[Utterance]:
        return sorted(self._utterances, key=lambda utterance: utterance[0].start_time)

    def _channel(self, number: int) -> dict[str, Any]:
        mine = [utterance for utterance in self._utterances if utterance[0].channel == number]
        text = " ".join(text.strip() for _, text, _ in mine if text.strip())
        return {"alternatives": [alternative(text, [word for *_, words in mine for word in words])]}


def _utterance(segment: Segment, text: str, words: Sequence[Word]) -> dict[str, Any]:
    return {
        "start": round(segment.start_time, 3),
        "end": round(segment.end_time, 3),
        "channel": segment.channel,
        "id": str(uuid.uuid4()),
        **alternative(text, words),
    }


class PrerecordedRoute:
    """The path: any method."""

    def __init__(self, service: Service, entry: Entry) -> None:
        self._service = service
        self._entry = entry
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate, request_id = self._service.gate, str(uuid.uuid4())
        credentials = credentials_in(scope["headers"], (), SCHEMES)
        client = client_of(scope, gate)._replace(token=credentials.token, wire="deepgram", request_id=request_id)
        if scope["method"] == "OPTIONS":
            await preflight(gate, client, METHODS)(scope, receive, send)
            return
        cors = cors_headers(gate, client)
        if scope["method"] != "POST":
            text = f"expected POST at {scope['path']}, or a websocket, got {scope['method']:.20}"
            answer = failure_answer("method_not_allowed", text, request_id)
            await self._answer(answer._replace(status=405), {**cors, "allow": METHODS}, scope, receive, send)
            return
        opened = await self._open(scope, client)
        if isinstance(opened, Refusal):
            self._service.admission.record(opened)
            await self._answer(refusal_answer(opened, request_id), cors, scope, receive, send)
            return
        listen, permit = opened
        try:
            client = client._replace(identity=permit.identity)
            await self._serve(listen, receive, send, client, request_id, cors)
        finally:
            permit.release()

    @staticmethod
    async def _answer(answer: HttpAnswer, headers: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        response = respond(answer)
        response.headers.update(headers)
        await response(scope, receive, send)

    async def _open(self, scope: Scope, client: ClientInfo) -> tuple[Listen, Permit] | Refusal:
        service = self._service
        unserved = self._entry.why_unserved("segmented") or why_no_words(service)
        if unserved is not None:
            return Refusal(RefusalKind.NOT_SERVED, "not_served", f"{scope['path']} is not served: {unserved}")
        permit = await self._entry.admit(client)
        if isinstance(permit, Refusal):
            return permit
        try:
            listen = parse_listen(
                scope["query_string"],
                min_silence_ms=min_silence_ms(service.config),
                options_schema=service.session_options.schema,
            )
            check_start(listen.start, service)
            _check_body(scope)
        except VoxgateError as error:
            permit.release()
            return invalid_request(error)
        except BaseException:
            permit.release()
            raise
        return listen, permit

    async def _serve(
        self,
        listen: Listen,
        receive: Receive,
        send: Send,
        client: ClientInfo,
        request_id: str,
        headers: dict[str, str],
    ) -> None:
        context = self._context
        if context is None:
            context = self._context = SessionContext.of(self._service)
        metadata = Metadata(request_id, self._service.model.name)
        recording = Recording(listen, metadata, receive, send, context.config.limits.upload_bytes)
        recording.headers = headers
        await Session(recording, context, "segmented", None, client).run()


def _check_body(scope: Scope) -> None:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.lower().startswith(b"application/json"):
        raise InvalidStart("body: expected the bytes of a recording; the server fetches nothing that a client names")
