"""What a live stream over gRPC costs the server, beside one over a websocket.

    python bench/grpc_cost.py [--streams 50] [--message-ms 100] [--seconds 8] [--rounds 3] [--per-connection 1]

One server process with Silero speaks both. A client process sends N live streams of the bundled speech, each at a
place of its own, in messages of M ms, when they are due. Counted is the CPU time of the whole server process, in
microseconds a message; the rounds alternate, and the best of each wire counts. `--per-connection`: gRPC streams that
share a connection.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import uvloop
from server_process import ServerProcess

from voxgate import recordings
from voxgate.audio import read_audio
from voxgate.load.cost import from_pid

SETTLE_S = 2.0
FORMAT = {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False}

Send = Callable[[bytes], Awaitable[None]]


async def open_websocket(port: int, stack: contextlib.AsyncExitStack) -> Send:
    from websockets.asyncio.client import connect

    url = f"ws://127.0.0.1:{port}/api/v1/segmented"
    socket = await stack.enter_async_context(connect(url, compression=None, ping_interval=None))
    await socket.send(json.dumps({"request": "start", "format": FORMAT}))
    return socket.send


async def open_grpc(channel: Any) -> Send:
    from voxgate.proto.voxgate import STREAM, ClientMessage

    call = channel.stream_stream(STREAM)()
    await call.write(ClientMessage(start={"format": FORMAT}).SerializeToString())
    return lambda audio: call.write(ClientMessage(audio=audio).SerializeToString())


async def drive(wire: str, port: int, n_streams: int, message_ms: int, seconds: float, per_connection: int) -> None:
    """Prints a line when all is open and settled, and one at the end of the time, with the messages in between."""
    planes, rate = read_audio(recordings.path("demo"))
    assert rate == 16_000
    speech = (planes[0] * 32767).astype("<i2")
    n = 16 * message_ms
    async with contextlib.AsyncExitStack() as stack:
        sends: list[Send] = []
        channel: Any = None
        for number in range(n_streams):
            if wire == "websocket":
                sends.append(await open_websocket(port, stack))
                continue
            import grpc.aio

            if number % per_connection == 0:
                own = [("grpc.use_local_subchannel_pool", 1)]
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", own))
            sends.append(await open_grpc(channel))

        n_sent = 0

        async def live(number: int, send: Send) -> None:
            nonlocal n_sent
            pieces = audio_from(speech, 1600 * number, n)
            begin_s = time.perf_counter() + message_ms / 1000 * number / n_streams
            for index, piece in enumerate(pieces):
                await asyncio.sleep(max(0.0, begin_s + index * message_ms / 1000 - time.perf_counter()))
                await send(piece)
                n_sent += 1

        tasks = [asyncio.create_task(live(number, send)) for number, send in enumerate(sends)]
        await asyncio.sleep(SETTLE_S)
        print("settled", flush=True)
        n_before = n_sent
        await asyncio.sleep(seconds)
        print(n_sent - n_before, flush=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def audio_from(speech: np.ndarray, begin: int, n: int) -> Iterator[bytes]:
    while True:
        begin %= len(speech) - n
        yield speech[begin : begin + n].tobytes()
        begin += n


def measured(server: ServerProcess, wire: str, arguments: argparse.Namespace) -> float:
    port = server.port if wire == "websocket" else server.grpc_port
    command = [sys.executable, __file__, "--client", wire, "--port", str(port)]
    for name in ("streams", "message_ms", "seconds", "per_connection"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "settled\n":
            raise RuntimeError(f"the client failed: exit code {client.wait()}")
        before_s = from_pid(server.pid).cpu_s
        n_messages = int(client.stdout.readline())
        cpu_s = from_pid(server.pid).cpu_s - before_s
    expected = arguments.streams * arguments.seconds * 1000 / arguments.message_ms
    if n_messages < 0.95 * expected:
        print(f"{wire}: {n_messages} of {expected:.0f} messages were sent: the machine is too busy", file=sys.stderr)
    return 1e6 * cpu_s / n_messages


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--message-ms", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-connection", type=int, default=1)
    parser.add_argument("--detector", default="silero")
    parser.add_argument("--client", choices=("websocket", "grpc"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        own = (arguments.port, arguments.streams, arguments.message_ms, arguments.seconds, arguments.per_connection)
        uvloop.run(drive(arguments.client, *own))
        return
    settings = {
        "model": "dummy",
        "grpc.port": 0,
        "limits.streams": 10_000,
        "limits.streams_per_address": 10_000,
        "vad.detector": arguments.detector,
    }
    best: dict[str, float] = {}
    with ServerProcess(settings) as server:
        for _ in range(arguments.rounds):
            for wire in ("websocket", "grpc"):
                best[wire] = min(best.get(wire, 1e9), measured(server, wire, arguments))
    print(f"{arguments.streams} streams, messages of {arguments.message_ms} ms, detector {arguments.detector}")
    for wire, us in best.items():
        print(f"{wire}: {us:.0f} us a message, {100 * us / (arguments.message_ms * 1000):.2f} % of a core for a stream")
    print(f"gRPC / websocket: {best['grpc'] / best['websocket']:.2f}")


if __name__ == "__main__":
    main()
