"""``POST /v1/listen``: Deepgram's API for whole recordings. The body is decoded as it arrives."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from starlette.types import Scope

from voxgate.endpoints.credentials import credentials_in
from voxgate.endpoints.deepgram.errors import failure_answer, refusal_answer
from voxgate.endpoints.deepgram.metadata import Metadata
from voxgate.endpoints.deepgram.query import SCHEMES, Listen, parse_listen
from voxgate.endpoints.deepgram.results import alternative
from voxgate.endpoints.refusals import HttpAnswer, respond
from voxgate.endpoints.request_route import AudioRequest, RequestEndpoint, RequestRoute, close_for, text_of
from voxgate.endpoints.wire import check_start, min_silence_ms
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.errors import BrokenMedia, InvalidStart
from voxgate.protocol.closing import LEFT, Close, CloseReason
from voxgate.protocol.events import Error, Event, Finished, Segment, Started
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Stop
from voxgate.protocol.transcript import Word
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.service.client_info import ClientInfo
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Message, Received, Rejected

__all__ = ["PrerecordedRoute", "Recording"]

Utterance = tuple[Segment, str, Sequence[Word]]


class Recording(RequestEndpoint):
    """One request as an endpoint: audio in, and one answer at the end."""

    def __init__(self, request: AudioRequest, listen: Listen, metadata: Metadata, max_bytes: int) -> None:
        """`max_bytes`: of the body."""
        super().__init__()
        self._request = request
        self._receive = request.receive
        self._listen = listen
        self._metadata = metadata
        self._left_bytes = max_bytes
        self._waiting: list[Received] = [listen.start]
        self._sha256 = hashlib.sha256()
        self._utterances: list[Utterance] = []
        audio_format = listen.start.format
        self._n_channels = audio_format.channels if isinstance(audio_format, AudioFormat) else 1
        self._duration_s = 0.0
        self._failure: HttpAnswer | None = None
        self._is_over = False  # all that matters was received

    async def receive(self) -> Received | None:
        if self._waiting:
            return self._waiting.pop(0)
        if self._failure is not None and not self._is_over:
            return self._end(close_for(self._failure.status))
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
                return self._end(close_for(413, "upload_bytes"))
            if body:
                self._sha256.update(body)
                return body
            if self._waiting:
                return self._waiting.pop(0)

    def _end(self, close: Close) -> Rejected:
        """The rest of the body does not matter."""
        self._is_over = True
        self._waiting.clear()
        return Rejected(close=close)

    def encode(self, event: Event) -> Sequence[Message]:
        match event:
            case Segment():
                transcript = transcript_of(event)
                self._utterances.append((event, transcript.text, words_of(event, transcript)))
            case Started() if event.format is not None:
                self._n_channels = event.format.channels
            case Finished():
                self._duration_s = event.received_s
                if not event.received_s:
                    self._fail(BrokenMedia.code, "expected a recording, got no audio")
            case Error():  # a missing utterance would look like silence: one that failed fails the whole
                self._fail(event.code, event.message)
        return ()

    async def send(self, message: Message) -> None:
        raise AssertionError("events have no messages of their own")

    async def close(self, close: Close) -> None:
        if close.reason is not CloseReason.COMPLETED:
            self._fail(close.reason, text_of(close))
        answer = self._failure
        if answer is None:
            answer = HttpAnswer(200, self._body, {"dg-request-id": self._metadata.request_id})
        request = self._request
        await respond(answer, request.headers)(request.scope, request.receive, request.send)

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


class PrerecordedRoute(RequestRoute):
    """The path."""

    wire: ClassVar[WireName] = "deepgram"

    def token_of(self, scope: Scope, client: ClientInfo) -> str | None:
        return credentials_in(scope["headers"], (), SCHEMES).token

    def refuse(self, refusal: Refusal, request_id: str) -> HttpAnswer:
        return refusal_answer(refusal, request_id)

    def open(self, request: AudioRequest, context: SessionContext) -> Recording:
        service = self.service
        listen = parse_listen(
            request.scope["query_string"],
            min_silence_ms=min_silence_ms(service.config),
            options_schema=service.session_options.schema,
        )
        check_start(listen.start, service)
        _check_body(request)
        metadata = Metadata(request.id, service.model.name)
        return Recording(request, listen, metadata, context.config.limits.upload_bytes)


def _check_body(request: AudioRequest) -> None:
    if request.header(b"content-type").lower().startswith("application/json"):
        raise InvalidStart("body: expected the bytes of a recording; the server fetches nothing that a client names")
