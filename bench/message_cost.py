"""What a 20 ms message of live audio costs the server's thread with many streams open, on a machine that is not idle.

    python bench/message_cost.py [--streams 850] [--group 32] [--seconds 4] [--wires native,deepgram]
    python bench/message_cost.py --streams 400 --rounds 5 --wires all

Everything is real, in one process: TCP sockets, uvloop, the protocols, the application, Silero, and the bundled speech,
each stream at a place of its own. Only the pace is not: the messages of a group of streams are written, and then the
loop runs until they are taken (on the simple route, and answered); its CPU time alone is counted (there, with that of
the model's threads), and so nothing that other processes do (but for what they
leave of the caches). Prints microseconds per message; `perf record` of it shows what they are made of. With several
wires, the rounds alternate, and the best of each counts; a wire stands beside the native one with the same results
(AssemblyAI's and OpenAI's APIs always have interims). native-transport: uvloop's transports read the sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import resource
import socket
import time
from typing import Any, NamedTuple

import numpy as np
import uvloop
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.config import load_config
from voxgate.models import FunctionModel
from voxgate.server.server import uvicorn_config
from voxgate.service.service import Service

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
START = {"request": "start", "format": {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False}}
UPDATE = {
    "type": "session.update",
    "session": {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}},
}


class Way(NamedTuple):
    path: str
    first: dict[str, Any] | None = None
    """The first message."""
    beside: str = "native"
    """The way whose events are the same."""


WAYS = {
    "native": Way("/api/v1/segmented", START),
    "native-transport": Way("/api/v1/segmented", START),
    "native-interims": Way("/api/v1/segmented", {**START, "interim_results": True}, "native-interims"),
    "deepgram": Way("/v1/listen?encoding=linear16&sample_rate=16000"),
    "deepgram-interims": Way(
        "/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true", beside="native-interims"
    ),
    "flux": Way("/v2/listen?encoding=linear16&sample_rate=16000", beside="native-interims"),
    "assemblyai": Way("/v3/ws?sample_rate=16000", beside="native-interims"),
    "openai": Way("/v1/realtime?intent=transcription", UPDATE, "native-interims"),
    "http": Way("/api/v1/segmented?sample_rate=16000"),
    "simple": Way("/api/v1/simple", START, "simple"),
}


def route_of(wire: str) -> str:
    return "simple" if wire == "simple" else "segmented"


def head(wire: str) -> bytes:
    """The request that opens a stream."""
    method, headers = ("POST", "Transfer-Encoding: chunked\r\n") if wire == "http" else ("GET", UPGRADE)
    return f"{method} {WAYS[wire].path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def message(wire: str, audio: bytes) -> bytes:
    """20 ms of audio."""
    if wire == "http":
        return b"%x\r\n%b\r\n" % (len(audio), audio)
    if wire == "openai":
        text = {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}
        return frame(0x81, json.dumps(text).encode())
    return frame(0x82, audio)


def frame(first_byte: int, data: bytes) -> bytes:
    mask = os.urandom(4)
    head = (
        bytes([first_byte, 0xFE]) + len(data).to_bytes(2) if len(data) > 125 else bytes([first_byte, 128 + len(data)])
    )
    keys = np.resize(np.frombuffer(mask, np.uint8), len(data))
    return head + mask + (np.frombuffer(data, np.uint8) ^ keys).tobytes()


async def open_streams(n_streams: int, wire: str) -> tuple[Service, list[socket.socket], Any]:
    overrides = {"limits.streams": 100_000, "limits.streams_per_address": 100_000, "server.port": 0}
    model = FunctionModel(lambda audio: {"text": str(len(audio))})
    service = Service(load_config(environ={}, overrides=overrides), model)
    started = asyncio.Event()
    config = uvicorn_config(service, lambda error: started.set())
    config.load()
    if wire == "native-transport":
        config.ws_protocol_class.start_reading = lambda self: self.transport.resume_reading()  # type: ignore[union-attr]
    lifespan = LifespanOn(config)
    await lifespan.startup()
    await started.wait()
    state, made = ServerState(), config.http_protocol_class
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: made(config=config, server_state=state, app_state={}), sock=listener)  # type: ignore[call-arg]
    clients = []
    for _ in range(n_streams):
        client = socket.create_connection(listener.getsockname())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(head(wire))
        await asyncio.sleep(0)
        client.setblocking(False)
        await loop.sock_recv(client, 1000)
        if (first := WAYS[wire].first) is not None:
            client.send(frame(0x81, json.dumps(first).encode()))
        clients.append(client)
    while len(service.tally.audio[route_of(wire)].sessions) < n_streams:
        await asyncio.sleep(0.01)
    return service, clients, lifespan


async def measure(n_streams: int, group: int, seconds: float, wire: str) -> float:
    service, clients, lifespan = await open_streams(n_streams, wire)
    planes, rate = read_audio(recordings.path("demo"))
    assert rate == 16_000
    samples = (planes[0] * 32767).astype("<i2")
    audio = [message(wire, samples[begin : begin + 320].tobytes()) for begin in range(0, len(samples) - 320, 320)]
    tally, spent_s, n_messages = service.tally, 0.0, 0
    clock = time.process_time if wire == "simple" else time.thread_time
    for turn in range(int(seconds * 50) + 10):
        for begin in range(0, n_streams, group):
            some = clients[begin : begin + group]
            for number, client in enumerate(some):
                client.send(audio[(turn + 37 * (begin + number)) % len(audio)])
            until, began_s = tally.binary_in + len(some), clock()
            while tally.binary_in < until or (wire == "simple" and service.scheduler.pending):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            if turn >= 10:
                spent_s += clock() - began_s
                n_messages += len(some)
        for client in clients:
            with contextlib.suppress(BlockingIOError):
                client.recv(65_536)
    for client in clients:
        client.close()
    while service.streams:
        await asyncio.sleep(0.01)
    await lifespan.shutdown()
    return spent_s / n_messages * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=850)
    parser.add_argument("--group", type=int, default=32, help="streams whose messages one turn of the loop finds")
    parser.add_argument("--seconds", type=float, default=4.0, help="of audio of each stream")
    parser.add_argument("--wires", default="native", help=f"of {', '.join(WAYS)}, separated by commas, or all")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wires = list(WAYS) if args.wires == "all" else args.wires.split(",")
    costs_us: dict[str, list[float]] = {wire: [] for wire in wires}
    for _ in range(args.rounds):
        for wire in wires:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                costs_us[wire].append(runner.run(measure(args.streams, args.group, args.seconds, wire)))
    for wire in wires:
        beside = WAYS[wire].beside if WAYS[wire].beside in wires else wires[0]
        cost_us, beside_us = min(costs_us[wire]), min(costs_us[beside])
        ratio = "" if wire == beside else f", {cost_us / beside_us:.2f} times {beside}"
        print(f"{wire}: {args.streams} streams, {args.group} at a time: {cost_us:.1f} us of CPU per message{ratio}")


if __name__ == "__main__":
    main()
