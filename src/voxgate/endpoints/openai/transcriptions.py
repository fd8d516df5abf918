"""``POST /v1/audio/transcriptions``: a whole file becomes its transcript.

The file goes through a session of the segmented route, as fast as the model takes it; TCP holds the client back.
Where nothing that a client may still send behind its file can matter to the session, the file is decoded as it arrives.
Otherwise it waits on the disk, encoded as it came, for the end of the form. So does the file of a stream: nginx and
others stop forwarding a body for which the server has to hold them back once its answer has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final

from starlette.responses import Response

from voxgate.endpoints.json_text import encode
from voxgate.endpoints.openai.errors import ApiError, body_of, error_answer, refusal_answer, status_of
from voxgate.endpoints.openai.form import FormParser
from voxgate.endpoints.openai.model_options import options_of, wanted_options
from voxgate.endpoints.openai.options import TranscriptionOptions
from voxgate.endpoints.openai.transcription import CONTENT_TYPES, Transcription
from voxgate.endpoints.openai.upload import ClientGone, Spool, SpoolBudget, Upload
from voxgate.endpoints.refusals import HttpAnswer, respond
from voxgate.endpoints.request_route import AudioRequest, RequestEndpoint, RequestRoute, close_for, text_of
from voxgate.protocol.closing import LEFT, Close, CloseReason
from voxgate.protocol.events import Error, Event, Finished, Segment
from voxgate.protocol.formats import AUTO, ContainerFormat
from voxgate.protocol.requests import Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.runtime import tasks
from voxgate.service.admission import Refusal
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Message, Received, Rejected

__all__ = ["TranscriptionEndpoint", "TranscriptionsRoute"]

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"


class TranscriptionEndpoint(RequestEndpoint):
    """One upload. The session waits for its start until the fields that it needs have come. The answer begins when its
    status is known: with `stream`, as soon as the first result has come.
    """

    waits_for_start = False

    def __init__(self, request: AudioRequest, service: Service, budget: SpoolBudget) -> None:
        super().__init__()
        self._request = request
        self._service = service
        self._spool = Spool(budget)
        self._upload: Upload | None = None  # None: nothing was received
        self._audio: Callable[[], Awaitable[bytes | None]]
        self._departed: asyncio.Task[None] | None = None  # watches for the end of a client whose form is complete
        self._options = TranscriptionOptions()
        self._transcription = Transcription()
        self._is_stream = False  # events are sent as results come
        self._has_file = self._has_begun = self._has_closed = False
        self._failure: ApiError | None = None

    async def receive(self) -> Received | None:
        try:
            if self._has_file or self._has_closed:
                await self._departure()
                self.departure = Departure(LEFT)
                return None
            if self._failure is not None:
                raise self._failure
            if self._upload is None:
                return await self._start()
            if self._departed is not None and self._departed.done():
                raise ClientGone
            data = await self._audio()
            if data is not None:
                return data
            self._options = TranscriptionOptions.of(self._upload.fields)
            self._has_file = True
            return Stop(disconnect=True)
        except ApiError as error:
            self._failure = self._failure or error
            self._has_closed = True
            return Rejected(close=close_for(error.status, error.limit))
        except ClientGone:
            return None

    async def _start(self) -> Start:
        """Receives the fields, and where they may follow the file, the whole form."""
        limits, request = self._service.config.limits, self._request
        parser = FormParser(request.header(b"content-type"), limits.upload_field_bytes)
        upload = self._upload = Upload(request.receive, parser, limits.upload_bytes, limits.idle_timeout_s)
        await upload.until_file()
        self._audio = upload.audio
        # What is wrong with the fields is said before the file is read.
        self._is_stream = TranscriptionOptions.of(upload.fields).is_stream
        if self._is_stream or self._waits_for_fields(upload):
            await self._spool.take(upload)
            self._audio = self._spool.audio
            self._departed = tasks.spawn_task(self._departure(), "upload-departure", "connection")
            self._is_stream = TranscriptionOptions.of(upload.fields).is_stream
        last = {name: values[-1] for name, values in upload.fields.items()}
        return Start(ContainerFormat(AUTO, mono=True), notices=True, options=options_of(last, self._service))

    def _waits_for_fields(self, upload: Upload) -> bool:
        """Whether fields that are needed before the file is transcribed may follow it. Those of OpenAI's SDK precede
        it; curl keeps the order of its user.
        """
        return "model" not in upload.fields or any(name not in upload.fields for name in wanted_options(self._service))

    async def _departure(self) -> None:
        """Returns when the client is gone."""
        if self._departed is not None and self._departed is not asyncio.current_task():
            await self._departed
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    def encode(self, event: Event) -> Sequence[Message]:
        if isinstance(event, Segment) and event.is_final:
            delta = self._transcription.add(event)
            if self._is_stream and delta:
                return (_sse({"type": "transcript.text.delta", "delta": delta}),)
        elif isinstance(event, Finished):
            self._transcription.duration_s = event.received_s
            if not event.received_s and self._failure is None:
                self._failure = ApiError("expected a file with audio, got none", "file", "audio_too_short")
        elif isinstance(event, Error) and self._failure is None:
            # A missing utterance would look like silence: one that failed fails the whole.
            status = status_of(event.code)
            param = "file" if status == 400 else None
            self._failure = ApiError(event.message, param, event.code or None, status)
        return ()

    async def send(self, message: Message) -> None:
        await self._begin()
        assert isinstance(message, str)
        await self._request.send({"type": "http.response.body", "body": message.encode(), "more_body": True})

    async def close(self, close: Close) -> None:
        request, options = self._request, self._options
        if close.reason is not CloseReason.COMPLETED and self._failure is None:
            self._failure = ApiError(text_of(close), None, close.reason, status_of(close.reason))
        if self._has_begun:
            await self._end_stream()
        elif self._failure is not None:
            response = respond(error_answer(self._failure, request.id), request.headers)
            await response(request.scope, request.receive, request.send)
        elif options.is_stream:
            await self._begin()
            deltas = self._transcription.deltas()
            await self.send("".join(_sse({"type": "transcript.text.delta", "delta": delta}) for delta in deltas))
            await self._end_stream()
        else:
            body = self._transcription.encode(options).encode()
            headers = {"x-request-id": request.id, **request.headers}
            response = Response(body, 200, headers, CONTENT_TYPES[options.response_format])
            await response(request.scope, request.receive, request.send)

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            fields = {"content-type": EVENT_STREAM, "cache-control": "no-store", "x-accel-buffering": "no"}
            fields |= {"x-request-id": self._request.id, **self._request.headers}
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
            await self._request.send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _end_stream(self) -> None:
        failure = self._failure
        if failure is None:
            words = self._transcription
            last = {"type": "transcript.text.done", "text": words.text, "usage": words.usage}
        else:
            last = {"type": "error", **body_of(str(failure), failure.status, failure.param, failure.code)}
        await self._request.send({"type": "http.response.body", "body": _sse(last).encode(), "more_body": False})

    def free(self) -> None:
        self._spool.close()
        if self._departed is not None:
            self._departed.cancel()


class TranscriptionsRoute(RequestRoute):
    """The path."""

    wire: ClassVar[WireName] = "openai"
    has_websocket = False

    def __init__(self, service: Service, entry: Entry) -> None:
        super().__init__(service, entry)
        self._spool_budget = SpoolBudget(service.config.limits.upload_spool_bytes)

    def refuse(self, refusal: Refusal, request_id: str) -> HttpAnswer:
        return refusal_answer(refusal, request_id)

    def open(self, request: AudioRequest, context: SessionContext) -> TranscriptionEndpoint:
        return TranscriptionEndpoint(request, self.service, self._spool_budget)


def _sse(event: dict[str, Any]) -> str:
    return f"data: {encode(event)}\n\n"
