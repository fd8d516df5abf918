"""A server with OpenAI's `/v1/audio/transcriptions` that answers what a test says, also wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import email
import io
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import soundfile
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["Received", "TranscriptionServer", "broken_stream", "events", "transcription_server"]

Reply = Response | Callable[["Received"], Response | Awaitable[Response]]


@dataclass
class Received:
    """One call."""

    fields: dict[str, list[str]]
    headers: dict[str, str]
    samples: Any
    """float64, shape (samples,)."""
    rate: int
    peer: tuple[str, int]


@dataclass
class TranscriptionServer:
    """`replies` are used up one by one, then `reply` answers. Any thread may change them."""

    models: Response = field(default_factory=lambda: JSONResponse({"data": [{"id": "tiny"}]}))
    reply: Reply = field(default_factory=lambda: JSONResponse({"text": " Hello. "}))
    replies: deque[Reply] = field(default_factory=deque)
    calls: list[Received] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    """The Authorization header of every request, also for the models."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def list_models(self, request: Request) -> Response:
        self.keys.append(request.headers.get("authorization"))
        return self.models

    async def transcribe(self, request: Request) -> Response:
        self.keys.append(request.headers.get("authorization"))
        fields, file = form_of(request.headers["content-type"], await request.body())
        samples, rate = soundfile.read(io.BytesIO(file))
        assert request.client is not None
        received = Received(fields, dict(request.headers), samples, rate, tuple(request.client))
        self.calls.append(received)
        reply = self.replies.popleft() if self.replies else self.reply
        if isinstance(reply, Response):
            return reply
        response = reply(received)
        return response if isinstance(response, Response) else await response


def form_of(content_type: str, body: bytes) -> tuple[dict[str, list[str]], bytes]:
    """The fields of a multipart form, and its file."""
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, list[str]] = {}
    file = b""
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if name == "file":
            assert (part.get_content_type(), part.get_filename()) == ("audio/wav", "audio.wav")
            file = part.get_payload(decode=True)
        elif name is not None:
            fields.setdefault(str(name), []).append(part.get_payload(decode=True).decode())
    return fields, file


def events(*data: object, done: bool = False) -> Response:
    """A stream of server-sent events: JSON of `data`, and OpenAI's last line."""
    lines = [f"data: {json.dumps(one)}\n\n" for one in data] + ["data: [DONE]\n\n"] * done
    return StreamingResponse(iter(lines), media_type="text/event-stream")


def broken_stream(*data: object, media_type: str = "text/event-stream") -> Response:
    """The same, whose connection is cut before its end."""

    async def body() -> AsyncIterator[str]:
        for one in data:
            yield f"data: {json.dumps(one)}\n\n"
        raise ConnectionAbortedError("as the test wants it")

    return StreamingResponse(body(), media_type=media_type)


@contextlib.contextmanager
def transcription_server() -> Iterator[TranscriptionServer]:
    """The server, on a thread, while the block runs."""
    state = TranscriptionServer()
    app = Starlette(
        routes=[
            Route("/v1/models", state.list_models),
            Route("/v1/audio/transcriptions", state.transcribe, methods=["POST"]),
        ]
    )
    is_ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            state.port = self.servers[0].sockets[0].getsockname()[1]
            is_ready.set()

    server = Server(
        uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="transcription-server")
    thread.start()
    try:
        assert is_ready.wait(30)
        yield state
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
