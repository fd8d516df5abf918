"""``POST /v1/audio/transcriptions``: a whole file becomes its transcript.

The file goes through a session of the segmented route, as fast as the model takes it; TCP holds the client back.
Where nothing that a client may still send behind its file can matter to the session, the file is decoded as it arrives.
Otherwise it waits on the disk, encoded as it came, for the end of the form.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voxgate.endpoints.cors import cors_headers, preflight
from voxgate.endpoints.openai.errors import ApiError, body_of, error_of, status_of
from voxgate.endpoints.openai.form import FormParser
from voxgate.endpoints.openai.model_options import options_of, wanted_options
from voxgate.endpoints.openai.options import TranscriptionOptions
from voxgate.endpoints.openai.transcription import CONTENT_TYPES, Transcription
from voxgate.endpoints.openai.upload import ClientGone, Spool, SpoolBudget, Upload
from voxgate.endpoints.peer import client_of
from voxgate.endpoints.wire import why_no_words
from voxgate.protocol.closing import LEFT, LOST, Close, CloseReason
from voxgate.protocol.events import Error, Event, Finished, Segment
from voxgate.protocol.formats import AUTO, ContainerFormat
from voxgate.protocol.requests import Start, Stop
from voxgate.service.admission import Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Departure, Listener, Message, Received, Rejected
from voxgate.session.session import Session

__all__ = ["TranscriptionEndpoint", "TranscriptionsRoute"]

METHODS: Final = "POST, OPTIONS"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
RETRY_S: Final = 5

Headers = dict[str, str]


class TranscriptionEndpoint:
    """One upload as an endpoint. `audio` returns the next bytes of the file, and None at its end; it raises ApiError or
    ClientGone. The response begins when its status is known: with `stream`, as soon as the session has begun.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        start: Start,
        audio: Callable[[], Awaitable[bytes | None]],
        options: Callable[[], TranscriptionOptions],
        is_stream: bool,
        headers: Headers,
    ) -> None:
        """`options` may change until `audio` has returned None. `is_stream`: events are sent while audio comes."""
        self._receive = receive
        self._send = send
        self._audio = audio
        self._options = options
        self._is_stream = is_stream
        self._headers = headers
        self._transcription = Transcription()
        self._waiting: list[Received] = [start]
        self._has_file = self._has_begun = self._has_closed = False
        self._failure: ApiError | None = None
        self.departure = Departure(LOST)

    def code_of(self, close: Close) -> None:
        return None

    async def receive(self) -> Received | None:
        if self._waiting:
            return self._waiting.pop(0)
        try:
            if self._failure is not None and not self._has_closed:
                self._has_closed = True
                return Rejected(close=Close(CloseReason.INVALID, self._failure.code or ""))
            if not self._has_file and not self._has_closed:
                data = await self._audio()
                if data is not None:
                    return data
                self._has_file = True
                self._options()
                return Stop(disconnect=True)
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except ApiError as error:
            self._failure = self._failure or error
            self._has_closed = True
            reason = CloseReason.TOO_LARGE if error.status == 413 else CloseReason.INVALID
            return Rejected(close=Close(reason, error.code or ""))
        except ClientGone:
            return None
        self.departure = Departure(LEFT)
        return None

    def listen(self, listener: Listener | None) -> None:
        pass

    def encode(self, event: Event) -> Sequence[Message]:
        if isinstance(event, Segment) and event.is_final:
            delta = self._transcription.add(event)
            if self._is_stream and delta:
                return (_sse({"type": "transcript.text.delta", "delta": delta}),)
        elif isinstance(event, Finished):
            self._transcription.duration_s = event.received_s
        elif isinstance(event, Error) and self._failure is None:
            # A missing utterance would look like silence: one that failed fails the whole.
            status = status_of(event.code)
            param = "file" if status == 400 else None
            self._failure = ApiError(event.message, param, event.code or None, status)
        return ()

    def write(self, message: Message) -> bool:
        return False

    async def send(self, message: Message) -> None:
        await self._begin()
        assert isinstance(message, str)
        await self._send({"type": "http.response.body", "body": message.encode(), "more_body": True})

    async def close(self, close: Close) -> None:
        if close.reason is not CloseReason.COMPLETED and self._failure is None:
            text = close.text or f"the stream ended: {close.reason}"
            self._failure = ApiError(text, None, close.reason, status_of(close.reason))
        if self._has_begun:
            await self._end_stream()
        elif self._failure is not None:
            await _respond(self._failure, self._headers)({"type": "http"}, self._receive, self._send)
        elif (options := self._options()).is_stream:
            await self._begin()
            deltas = self._transcription.deltas()
            await self.send("".join(_sse({"type": "transcript.text.delta", "delta": delta}) for delta in deltas))
            await self._end_stream()
        else:
            body = self._transcription.encode(options)
            kind = CONTENT_TYPES[options.response_format]
            response = Response(body.encode("utf-8", "replace"), 200, self._headers, kind)
            await response({"type": "http"}, self._receive, self._send)

    async def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            fields = {"content-type": EVENT_STREAM, "cache-control": "no-store", "x-accel-buffering": "no"}
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (fields | self._headers).items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _end_stream(self) -> None:
        failure = self._failure
        if failure is None:
            words = self._transcription
            last = {"type": "transcript.text.done", "text": words.text, "usage": words.usage}
        else:
            last = {"type": "error", **body_of(str(failure), failure.status, failure.param, failure.code)}
        await self._send({"type": "http.response.body", "body": _sse(last).encode(), "more_body": False})


class TranscriptionsRoute:
    """The path: any method."""

    def __init__(self, service: Service, entry: Entry) -> None:
        self._service = service
        self._entry = entry
        self._spool_budget = SpoolBudget(service.config.limits.upload_spool_bytes)
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._service.gate
        request_id = str(uuid.uuid4())
        client = client_of(scope, gate)._replace(wire="openai", request_id=request_id)
        headers = {"x-request-id": request_id, **cors_headers(gate, client)}
        if scope["method"] == "OPTIONS":
            await preflight(gate, client, METHODS)(scope, receive, send)
            return
        if scope["method"] != "POST":
            error = ApiError(f"expected POST, got {scope['method']:.20}", None, "method_not_allowed", 405)
            await _respond(error, {**headers, "allow": METHODS})(scope, receive, send)
            return
        unserved = self._entry.why_unserved("segmented") or why_no_words(self._service)
        permit: Permit | Refusal
        if unserved is not None:
            permit = Refusal(RefusalKind.NOT_SERVED, "not_served", f"{scope['path']} is not served: {unserved}")
        else:
            permit = await self._entry.admit(client)
        if isinstance(permit, Refusal):
            self._service.admission.record(permit)
            if permit.retry_after_s is not None:
                headers["retry-after"] = str(permit.retry_after_s)
            status, body = error_of(permit)
            await _json(body, status, headers)(scope, receive, send)
            return
        try:
            await self._serve(scope, receive, send, client._replace(identity=permit.identity), headers)
        except ApiError as error:
            await _respond(error, headers)(scope, receive, send)
        except ClientGone:
            pass
        finally:
            permit.release()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, client: ClientInfo, headers: Headers) -> None:
        limits = self._service.config.limits
        kind = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"), "")
        parser = FormParser(kind, limits.upload_field_bytes)
        upload = Upload(receive, parser, limits.upload_bytes, limits.idle_timeout_s)
        await upload.until_file()
        options = TranscriptionOptions.of(upload.fields)
        if self._waits_for_fields(upload):
            spool = Spool(self._spool_budget)
            try:
                await spool.take(upload)
                options = TranscriptionOptions.of(upload.fields)
                await self._run(upload, receive, send, client, headers, spool.audio, options.is_stream)
            finally:
                spool.close()
        else:
            await self._run(upload, receive, send, client, headers, upload.audio, options.is_stream)

    def _waits_for_fields(self, upload: Upload) -> bool:
        """Whether fields that are needed before the file is transcribed may follow it. Those of OpenAI's SDK precede
        it; curl keeps the order of its user.
        """
        return "model" not in upload.fields or any(
            name not in upload.fields for name in wanted_options(self._service)
        )

    async def _run(
        self,
        upload: Upload,
        receive: Receive,
        send: Send,
        client: ClientInfo,
        headers: Headers,
        audio: Callable[[], Awaitable[bytes | None]],
        is_stream: bool,
    ) -> None:
        context = self._context
        if context is None:
            context = self._context = SessionContext.of(self._service)
        last = {name: values[-1] for name, values in upload.fields.items()}
        start = Start(ContainerFormat(AUTO, mono=True), notices=True, options=options_of(last, self._service))
        endpoint = TranscriptionEndpoint(
            receive, send, start, audio, lambda: TranscriptionOptions.of(upload.fields), is_stream, headers
        )
        await Session(endpoint, context, "segmented", None, client).run()


def _sse(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode("utf-8", "replace").decode()


def _json(body: dict[str, Any], status: int, headers: Headers) -> Response:
    return Response(json.dumps(body), status, headers, "application/json")


def _respond(error: ApiError, headers: Headers) -> Response:
    if error.status == 503:
        headers = {**headers, "retry-after": str(RETRY_S)}
    return _json(body_of(str(error), error.status, error.param, error.code), error.status, headers)
