"""Figures of docs/series/1-the-api.md: what 20 ms of audio cost on four kinds of wire, and when events come.

    python docs/figures/api.py

Bytes are counted by a proxy between a real client and a real server (websockets, grpcio, http.client; uvicorn). The CPU
of the server is that of its process while 20 live streams send to it. About 40 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.metadata
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import live
import plots
import sections

from voxgate import recordings
from voxgate.audio.files.read import read_audio
from voxgate.client import Stream

PAGE = ROOT / "docs/series/1-the-api.md"
CHUNK = np.random.default_rng(1).integers(-300, 300, 320, dtype="<i2").tobytes()  # 20 ms of 16 kHz, a quiet room
CHUNK_S = 0.02
N_CHUNKS = 100
N_STREAMS = 20
LOAD_S = 4.0
METHOD = "/voxgate.Speech/Stream"
LATEST_S = 1.5


def protobuf(chunk: bytes) -> bytes:
    """message Audio { bytes pcm = 1; }"""
    return b"\x0a" + bytes([len(chunk) & 0x7F | 0x80, len(chunk) >> 7]) + chunk


# Servers that do nothing with the audio, each in a process of its own: what the wire costs, and no more.


def serve_asgi(port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def post(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return Response(status_code=204)

    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        while (await socket.receive())["type"] == "websocket.receive":
            pass

    app = Starlette(routes=[Route("/audio", post, methods=["POST"]), WebSocketRoute("/audio", websocket)])
    uvicorn.run(app, port=port, loop="uvloop", ws="websockets-sansio", ws_per_message_deflate=False, log_level="error")


def serve_grpc(port: int) -> None:
    import grpc.aio

    async def hear(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        yield b""

    async def main() -> None:
        server = grpc.aio.server()
        method = grpc.stream_stream_rpc_method_handler(hear)
        service, name = METHOD[1:].split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(main())


SERVERS = {"asgi": serve_asgi, "grpc": serve_grpc}


@contextlib.contextmanager
def plain_server(kind: str) -> Iterator[tuple[int, int]]:
    """Its port and its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([sys.executable, __file__, kind, str(port)], env=environment) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                threading.Event().wait(0.05)
            yield port, process.pid
        finally:
            process.kill()


# Bytes


class Counter:
    """A proxy that counts the bytes of each direction."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[asyncio.Task[Any] | None] = []
        self.up = self.down = 0

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        if connections := [task for task in self._connections if task is not None]:
            await asyncio.wait(connections, timeout=2)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, server_writer, "up"), self._pass(server_reader, writer, "down"))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while data := await reader.read(65_536):
            setattr(self, way, getattr(self, way) + len(data))
            writer.write(data)
            await writer.drain()
        writer.close()


Send = Callable[[int, int], Awaitable[None]]
"""Connects to a port and sends so many chunks."""


async def by_websocket(port: int, n_chunks: int) -> None:
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}/audio", compression=None, ping_interval=None) as websocket:
        for _ in range(n_chunks):
            await websocket.send(CHUNK)
            await asyncio.sleep(0.002)


async def by_grpc(port: int, n_chunks: int) -> None:
    import grpc.aio

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(n_chunks):
            yield protobuf(CHUNK)
            await asyncio.sleep(0.002)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        async for _ in channel.stream_stream(METHOD)(chunks()):
            pass


def post_each(port: int, n_chunks: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(n_chunks):
        headers = {"Content-Type": "application/octet-stream", "X-Session": "9f3c2d", "X-Chunk": str(number)}
        connection.request("POST", "/audio", CHUNK, headers)
        connection.getresponse().read()
    connection.close()


def post_chunked(port: int, n_chunks: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/audio", iter([CHUNK] * n_chunks), encode_chunked=True)
    connection.getresponse().read()
    connection.close()


async def by_post(port: int, n_chunks: int) -> None:
    await asyncio.to_thread(post_each, port, n_chunks)


async def by_upload(port: int, n_chunks: int) -> None:
    await asyncio.to_thread(post_chunked, port, n_chunks)


async def overhead(send: Send, port: int) -> tuple[float, float]:
    """Bytes of a chunk beside its audio, up and down. What a connection costs once is left out: two lengths are
    compared.
    """
    counts = []
    for n_chunks in (N_CHUNKS, 3 * N_CHUNKS):
        counter = Counter(port)
        async with counter as at:
            await send(at, n_chunks)
        counts.append((counter.up, counter.down))
    (up, down), (more_up, more_down) = counts
    return (more_up - up) / (2 * N_CHUNKS) - len(CHUNK), (more_down - down) / (2 * N_CHUNKS)


# CPU


async def paced(send: Callable[[], Awaitable[None]], delay_s: float) -> int:
    """Calls `send` every 20 ms; how often."""
    loop = asyncio.get_running_loop()
    begin_s = loop.time() + delay_s
    n_sent = 0
    while n_sent * CHUNK_S < LOAD_S:
        await asyncio.sleep(max(0.0, begin_s + n_sent * CHUNK_S - loop.time()))
        await send()
        n_sent += 1
    return n_sent


async def websocket_load(port: int, delay_s: float, path: str = "/audio", *first: str) -> int:
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}{path}", compression=None, ping_interval=None) as websocket:
        for text in first:
            await websocket.send(text)
        return await paced(lambda: websocket.send(CHUNK), delay_s)


async def post_load(port: int, delay_s: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /audio HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(CHUNK)}\r\nX-Session: 9f3c2d\r\n\r\n"

    async def post() -> None:
        writer.write(head.encode() + CHUNK)
        await reader.readuntil(b"\r\n\r\n")

    n_sent = await paced(post, delay_s)
    writer.close()
    return n_sent


async def grpc_load(port: int, delay_s: float) -> int:
    import grpc.aio

    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        call = channel.stream_stream(METHOD)()
        n_sent = await paced(lambda: call.write(protobuf(CHUNK)), delay_s)
        await call.done_writing()
        async for _ in call:
            pass
        return n_sent


async def cpu_us(one: Callable[[int, float], Awaitable[int]], port: int, pid: int) -> float:
    """CPU of the server for a chunk, while some streams are live."""
    before_s = live.process_cpu_s(pid)
    sent = await asyncio.gather(*[one(port, number * CHUNK_S / N_STREAMS) for number in range(N_STREAMS)])
    return 1e6 * (live.process_cpu_s(pid) - before_s) / sum(sent)


async def voxgate_load(port: int, delay_s: float) -> int:
    start = '{"request":"start","format":{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}}'
    return await websocket_load(port, delay_s, "/api/v1/segmented", start)


def wires() -> list[str]:
    rows: dict[str, tuple[str, tuple[float, float] | None, float | None]] = {}
    with plain_server("asgi") as (port, pid):
        websocket = asyncio.run(overhead(by_websocket, port))
        post = asyncio.run(overhead(by_post, port))
        upload = asyncio.run(overhead(by_upload, port))
        websocket_us = asyncio.run(cpu_us(websocket_load, port, pid))
        post_us = asyncio.run(cpu_us(post_load, port, pid))
    with plain_server("grpc") as (port, pid):
        grpc = asyncio.run(overhead(by_grpc, port))
        grpc_us = asyncio.run(cpu_us(grpc_load, port, pid))
    with live.server("features") as served:
        voxgate_us = asyncio.run(cpu_us(voxgate_load, int(served.address.rpartition(":")[2]), served.pid))
    rows = {
        "websocket": ("uvicorn, Starlette", websocket, websocket_us),
        "gRPC, both ways": ("grpcio", grpc, grpc_us),
        "HTTP/1.1, a request each": ("uvicorn, Starlette", post, post_us),
        "HTTP/1.1, one endless upload": ("uvicorn, Starlette", upload, None),
        "websocket, with detection": ("Voxgate", None, voxgate_us),
    }
    lines = [
        f"| 20 ms of audio, {len(CHUNK)} bytes | server | more bytes up | bytes down | CPU of the server |",
        "|---|---|---|---|---|",
    ]
    for name, (who, extra, us) in rows.items():
        up, down = ("", "") if extra is None else (f"{extra[0]:.0f}", f"{extra[1]:.0f}")
        lines.append(f"| {name} | {who} | {up} | {down} | {'' if us is None else f'{us:.0f} us'} |")
    return lines


# When events come


async def events_of(url: str) -> list[tuple[float, Any]]:
    stream = Stream(recordings.path("demo"), addr=url, chunk_size=len(CHUNK), real_time=True, interim_results=True)
    loop = asyncio.get_running_loop()
    began_s, came = 0.0, []
    events = aiter(stream)
    pending = asyncio.ensure_future(anext(events))
    while not stream.sent_bytes:
        await asyncio.sleep(0)
    began_s = loop.time() - stream.sent_s
    with contextlib.suppress(StopAsyncIteration):
        while True:
            came.append((await pending, loop.time() - began_s))
            pending = asyncio.ensure_future(anext(events))
    return [(at_s, event) for event, at_s in came]


def draw(came: list[tuple[float, Any]]) -> None:
    planes, rate = read_audio(recordings.path("demo"))
    samples = planes[0]
    step = rate // 100
    peaks = np.abs(samples[: len(samples) // step * step]).reshape(-1, step).max(axis=1)
    times_s = np.arange(len(peaks)) * step / rate
    plt = plots.pyplot()
    figure, (top, below) = plt.subplots(
        2, 1, sharex=True, figsize=plots.size(3.4), height_ratios=(1, 2.2), layout="constrained"
    )
    top.fill_between(times_s, peaks, -peaks, color=plots.OUTSIDE, linewidth=0)
    top.set(yticks=[], ylabel="audio")
    top.grid(visible=False)
    row = {"active": 3, "segment": 2, "inactive": 1, "final": 0}
    n_interims = 0  # of the utterance
    for at_s, event in came:
        if event.type in ("active", "inactive"):
            y, about = row[event.type], (event.time, event.time)
        else:
            y, about = row["final" if event.is_final else "segment"], (event.start_time, event.end_time)
        colour = plots.WAITS if y == 0 else plots.OURS
        n_interims = n_interims + 1 if y == 2 else 0 if y == 0 else n_interims
        jitter = 0.4 - 0.13 * n_interims if y == 2 else 0.0
        if at_s - about[1] > LATEST_S:
            raise SystemExit(f"an event came {at_s - about[1]:.1f} s after its audio: something else held the machine")
        below.plot(about, (y + jitter, y + jitter), color=colour, linewidth=2.5, alpha=0.35, solid_capstyle="butt")
        below.plot((about[1], at_s), (y + jitter, y + jitter), color=colour, linewidth=0.8, linestyle=":")
        below.plot(at_s, y + jitter, marker="o", markersize=4, color=colour)
    below.set_yticks(list(row.values()), ["active", "segment\ninterim", "inactive", "segment\nfinal"])
    below.set(xlabel="seconds since the first sample", xlim=(0, times_s[-1] + 0.1), ylim=(-0.6, 3.5))
    plots.save(figure, "api-events")


def main() -> None:
    if len(sys.argv) > 1:
        SERVERS[sys.argv[1]](int(sys.argv[2]))
        return
    lines = wires()
    with live.server("features") as served:
        came = asyncio.run(events_of(served.url()))
    draw(came)
    sections.figures("api", PAGE, "\n".join(lines), grpcio=importlib.metadata.version("grpcio"))


if __name__ == "__main__":
    main()
