"""A websocket server for tests of the client: it does what a script says, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

Handler = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class Received:
    """One session as it came: the text messages, and the lengths and bytes of the binary ones."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""

    @property
    def start(self) -> dict[str, Any]:
        return self.texts[0]


async def receive_session(websocket: ServerConnection) -> Received:
    """Everything up to and including stop."""
    request = websocket.request
    assert request is not None
    received = Received(headers={name.lower(): value for name, value in request.headers.raw_items()}, path=request.path)
    async for message in websocket:
        if isinstance(message, bytes):
            received.lengths.append(len(message))
            received.audio += message
        else:
            received.texts.append(json.loads(message))
            if received.texts[-1]["request"] == "stop":
                break
    return received


async def send(websocket: ServerConnection, *events: dict[str, Any]) -> None:
    for event in events:
        await websocket.send(json.dumps(event))


def active(time: float, channel: int = 0) -> dict[str, Any]:
    return {"type": "active", "time": time, "channel": channel}


def inactive(time: float, channel: int = 0) -> dict[str, Any]:
    return {"type": "inactive", "time": time, "channel": channel}


def final(start: float, end: float, channel: int = 0, **output: Any) -> dict[str, Any]:
    bounds = {"type": "segment", "start_time": start, "end_time": end, "is_final": True}
    return {**bounds, **(output or {"count": 1}), "channel": channel}


def interim(start: float, end: float, channel: int = 0, **output: Any) -> dict[str, Any]:
    return {**final(start, end, channel, **output), "is_final": False}


def segment(start: float, end: float, channel: int = 0, **output: Any) -> dict[str, Any]:
    event = final(start, end, channel, **output)
    del event["is_final"]
    return event


def error(message: str = "it failed", code: str = "inference_failed", channel: int = 0) -> dict[str, Any]:
    return {"type": "error", "message": message, "code": code, "channel": channel}


def answering(*events: dict[str, Any], sessions: list[Received] | None = None) -> Handler:
    """Takes a whole session, sends `events`, closes with 1000."""

    async def handler(websocket: ServerConnection) -> None:
        received = await receive_session(websocket)
        if sessions is not None:
            sessions.append(received)
        await send(websocket, *events)

    return handler


def address(server: Server, path: str = "/api/v1/segmented") -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://{host}:{port}{path}"


@contextlib.asynccontextmanager
async def serving(handler: Handler, path: str = "/api/v1/segmented", **options: Any) -> AsyncIterator[str]:
    """The address of a server in the running loop."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield address(server, path)


@contextlib.contextmanager
def serving_in_thread(handler: Handler, path: str = "/api/v1/segmented", **options: Any) -> Iterator[str]:
    """The address of a server in a thread of its own, for blocking callers."""
    ready: list[str] = []
    is_ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with serving(handler, path, **options) as addr:
            ready.append(addr)
            is_ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert is_ready.wait(30)
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


Step = Callable[[ServerConnection, Received], Awaitable[None]]


async def hear(websocket: ServerConnection, n_bytes: int | None = None) -> Received:
    """The session so far: its start and at least `n_bytes` of audio, or everything."""
    if n_bytes is None:
        return await receive_session(websocket)
    received = Received(texts=[json.loads(await websocket.recv())])
    while len(received.audio) < n_bytes:
        message = await websocket.recv()
        assert isinstance(message, bytes)
        received.audio += message
    return received


class Script:
    """Does another thing in each of its sessions, and keeps what it heard."""

    def __init__(self, *steps: tuple[int | None, Step]) -> None:
        self.steps = list(steps)
        self.sessions: list[Received] = []

    async def __call__(self, websocket: ServerConnection) -> None:
        n_bytes, step = self.steps.pop(0)
        received = await hear(websocket, n_bytes)
        self.sessions.append(received)
        await step(websocket, received)


def saying(*events: dict[str, Any], then: int | None = None, abort: bool = False) -> Step:
    async def step(websocket: ServerConnection, received: Received) -> None:
        await send(websocket, *events)
        if abort:
            # What was sent arrives, and then the end of the line in place of a close frame.
            websocket.transport.write_eof()
            with contextlib.suppress(ConnectionClosed):
                async for _ in websocket:
                    pass
        elif then is not None:
            await websocket.close(then, "try later")

    return step


def one_channel_ahead() -> Script:
    """20 s of stereo: the connection is lost when channel 0 is answered up to 4 s, and channel 1 up to 2 s."""
    return Script(
        (
            300_000,
            saying(
                *(active(0.0, 0), inactive(4.0, 0), final(0.0, 4.0, 0, text="a")),
                *(active(1.0, 1), inactive(1.5, 1), final(1.0, 1.5, 1, text="b"), active(2.0, 1)),
                abort=True,
            ),
        ),
        (
            None,  # begins at 2.0 s
            saying(
                *(active(0.0, 0), interim(0.0, 1.0, 0), inactive(2.1, 0), final(0.0, 2.1, 0, text="a again")),
                *(active(0.0, 1), inactive(1.0, 1), final(0.0, 1.0, 1, text="c")),
                *(active(3.0, 0), inactive(4.0, 0), final(3.0, 4.0, 0, text="d")),
            ),
        ),
    )


def simple_route_that_is_lost() -> Script:
    """10 s of mono on the simple route: the connection is lost when 1.25 s are answered."""
    return Script(
        (64_000, saying(segment(0, 0.4), segment(0.4, 1.25), abort=True)),
        (None, saying(segment(0, 8.75))),
    )


def refusing(*status: int, headers: dict[str, str] | None = None) -> Any:
    left = list(status)

    def refuse(connection: ServerConnection, request: Any) -> Response | None:
        if not left:
            return None
        return Response(int(http.HTTPStatus(left.pop(0))), "No", Headers(headers or {}), b'{"error": "server full"}')

    return {"process_request": refuse}
