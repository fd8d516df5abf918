"""Figures of docs/series/4-the-server.md: back-pressure beside a server without it, and what holds the event loop.

    python docs/figures/server.py

Sends ten minutes of audio at full speed to two servers whose models do a hundred seconds of it a second, then times
hand-overs, the shortcut of live audio, a long message and the garbage collector. About half a minute in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]


import live
import plots
import sections

from voxgate import vad
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.client import AudioFormat, Stream

PAGE = ROOT / "docs/series/4-the-server.md"
FORMAT = AudioFormat(channels=1, sample_rate=16_000, bit_depth=16, is_float=False)
BYTES_PER_S = 32_000
AUDIO_S = 600
FACTOR = 0.01  # real-time factor of the model
BUFFERED_S = 5


# Back-pressure


@contextlib.asynccontextmanager
async def naive_server() -> AsyncIterator[str]:
    """A server as one writes it first: a task reads, another asks the model, and a queue without a limit is between."""
    from websockets.asyncio.server import ServerConnection, serve

    async def model(queue: asyncio.Queue[bytes | None], websocket: ServerConnection) -> None:
        done_bytes = 0
        while (chunk := await queue.get()) is not None:
            await asyncio.sleep(FACTOR * len(chunk) / BYTES_PER_S)
            start_s, done_bytes = done_bytes / BYTES_PER_S, done_bytes + len(chunk)
            event = {"type": "segment", "start_time": start_s, "end_time": done_bytes / BYTES_PER_S, "channel": 0}
            await websocket.send(json.dumps(event))
        await websocket.close()

    async def connected(websocket: ServerConnection) -> None:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        asking = asyncio.ensure_future(model(queue, websocket))
        async for message in websocket:
            if isinstance(message, bytes):
                queue.put_nowait(message)
            elif "stop" in message:
                queue.put_nowait(None)
        await asking

    async with serve(connected, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1/simple"


async def send_fast(url: str) -> list[tuple[float, float, float]]:
    """At some times: seconds since the start, of audio sent, of audio worked off."""
    noise = np.random.default_rng(2).integers(-300, 300, AUDIO_S * 16_000, dtype="<i2").tobytes()
    stream = Stream(noise, addr=url, format=FORMAT, chunk_size=16_000)
    points: list[tuple[float, float, float]] = []
    done_s, began_s = 0.0, time.perf_counter()

    async def look() -> None:
        while True:
            points.append((time.perf_counter() - began_s, stream.sent_s, done_s))
            await asyncio.sleep(0.05)

    looking = asyncio.ensure_future(look())
    async for event in stream:
        done_s = event.end_time  # type: ignore[union-attr]
    looking.cancel()
    points.append((time.perf_counter() - began_s, stream.sent_s, done_s))
    return points


def pressure() -> list[str]:
    async def naive() -> list[tuple[float, float, float]]:
        async with naive_server() as url:
            return await send_fast(url)

    knobs = {"constant_factor": FACTOR, "delay": 0, "jitter": 0, "panic_rate": 0, "warmup_penalty": 0}
    settings = {f"model.{name}": value for name, value in knobs.items()}
    limits = {"limits.buffered_audio_s": BUFFERED_S, "inference.threads": 1, "simple.max_chunk_s": 2}
    with live.server("dummy", **settings, **limits, **{"inference.per_stream": 1}) as served:
        ours = asyncio.run(send_fast(served.url("simple")))
    theirs = asyncio.run(naive())

    plt = plots.pyplot()
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=plots.size(2.6), layout="constrained")
    for axes, points, title in zip(panels, (theirs, ours), ("a queue without a limit", "Voxgate"), strict=True):
        at_s, sent_s, done_s = np.array(points).T
        axes.fill_between(at_s, done_s, sent_s, color=plots.WAITS, alpha=0.25, linewidth=0, label="waits")
        axes.plot(at_s, sent_s, color=plots.OURS if title == "Voxgate" else plots.OUTSIDE, label="sent")
        axes.plot(at_s, done_s, color=plots.WAITS, label="worked off")
        axes.set(title=title, xlabel="seconds", xlim=(0, None), ylim=(0, AUDIO_S * 1.05))
        axes.legend(loc="lower right")
    panels[0].set_ylabel("seconds of audio")
    plots.save(figure, "server-pressure")
    most = [max(sent - done for _, sent, done in points) for points in (theirs, ours)]
    return [
        f"| a client sends {AUDIO_S} s of audio at once | most audio that waits between `send` and the model |",
        "|---|---|",
        f"| a queue without a limit | {most[0]:.0f} s |",
        f"| Voxgate, `limits.buffered_audio_s` {BUFFERED_S} | {most[1]:.0f} s, the kernel's buffers included |",
    ]


# What things cost the loop


def hand_over_us(n_queues: int) -> float:
    """A chunk from the callback that has it through so many queues, each with a task behind it; one chunk at a time, as
    live audio comes. Without what the callback itself costs.
    """

    async def run(n_queues: int) -> float:
        loop, chunk, n_chunks = asyncio.get_running_loop(), bytes(640), 2000
        queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(8) for _ in range(n_queues)]
        n_left, done = 0, asyncio.Event()

        def came() -> None:  # the socket's callback
            if n_queues:
                queues[0].put_nowait(chunk)
            else:
                arrived()

        def arrived() -> None:
            nonlocal n_left
            n_left -= 1
            if n_left:
                loop.call_soon(came)
            else:
                done.set()

        async def stage(number: int) -> None:
            while True:
                data = await queues[number].get()
                if number + 1 < n_queues:
                    await queues[number + 1].put(data)
                else:
                    arrived()

        stages = [asyncio.create_task(stage(number)) for number in range(n_queues)]
        best_s = float("inf")
        for _ in range(15):
            n_left = n_chunks
            done.clear()
            began_s = time.perf_counter()
            loop.call_soon(came)
            await done.wait()
            best_s = min(best_s, (time.perf_counter() - began_s) / n_chunks)
        for task in stages:
            task.cancel()
        return best_s * 1e6

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(n_queues)) - runner.run(run(0))


def session() -> Callable[[bytes], object]:
    """Decoding and detection of a stream: what the loop does with audio."""
    decoder, detector = StreamDecoder(FORMAT, 16_000), vad.load_detector().create(1)
    cutter = VadSession(detector, vad.VadConfig().to_endpoint(detector.frame_samples, 16_000))
    return lambda data: cutter.feed(decoder.push(data))


def work_us() -> float:
    hear, noise = session(), np.random.default_rng(3).integers(-300, 300, 16_000 * 4, dtype="<i2").tobytes()
    best_s = float("inf")
    for _ in range(15):
        began_s = time.perf_counter()
        for offset in range(0, len(noise), 640):
            hear(noise[offset : offset + 640])
        best_s = min(best_s, (time.perf_counter() - began_s) * 640 / len(noise))
    return best_s * 1e6


def long_message_ms() -> tuple[float, float]:
    """How long a message of 1 MiB holds the loop: at once, and in slices of a second."""
    message = np.random.default_rng(4).integers(-300, 300, 2**19, dtype="<i2").tobytes()
    at_once, slices = [], []
    for _ in range(5):
        hear = session()
        began_s = time.perf_counter()
        hear(message)
        at_once.append(time.perf_counter() - began_s)
        hear = session()
        for offset in range(0, len(message), BYTES_PER_S):
            began_s = time.perf_counter()
            hear(message[offset : offset + BYTES_PER_S])
            slices.append(time.perf_counter() - began_s)
    return min(at_once) * 1000, statistics.median(slices) * 1000


def shortcut_us() -> tuple[float, float]:
    """A message of 20 ms from the socket's callback to the detector: by the shortcut, and by ASGI. bench/ has more."""
    import test_bench_connection as bench

    def best_us(streams: bench.Streams) -> float:
        best_s = float("inf")
        for _ in range(300):
            began_s = time.perf_counter()
            streams.loop.run_until_complete(streams.hear())
            best_s = min(best_s, (time.perf_counter() - began_s) / bench.STREAMS)
        return best_s * 1e6

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    streams = bench.Streams(loop)
    loop.run_until_complete(streams.open())
    short_us = best_us(streams)
    for protocol in streams.protocols:
        protocol.listen(None)
    asgi_us = best_us(streams)
    loop.run_until_complete(streams.close())
    loop.close()
    return short_us, asgi_us


def collections_ms() -> list[float]:
    """A full round of the garbage collector in a process with the server and its model, before and after it was
    told to leave alone what stays.
    """

    def full_ms() -> float:
        rounds = []
        for _ in range(7):
            began_s = time.perf_counter()
            gc.collect()
            rounds.append(time.perf_counter() - began_s)
        return sorted(rounds)[3] * 1000

    from voxgate import server as serving
    from voxgate.config import load_config
    from voxgate.service.service import Service

    service: Any = serving, Service(load_config(environ={}, overrides={"model": "features"}))
    before_ms = full_ms()
    gc.freeze()
    after_ms = full_ms()
    del service
    return [before_ms, after_ms]


def costs() -> list[str]:
    work, one, three = work_us(), hand_over_us(1), hand_over_us(3)
    at_once, sliced = long_message_ms()
    short, asgi = shortcut_us()
    command = [sys.executable, __file__, "gc"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    before, after = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    left = f"{after:.1f}" if after >= 0.1 else "less than 0.1"
    return [
        "| 20 ms of 16 kHz on the event loop | |",
        "|---|---|",
        f"| the work: decode and detect | {work:.1f} us |",
        f"| handed from one task to the next, once | {one:.1f} us |",
        f"| three times: read, decode, resample, detect | {three:.1f} us |",
        "",
        "| 20 ms from the socket's callback to the energy detector | |",
        "|---|---|",
        f"| by the websocket library and ASGI | {asgi:.1f} us |",
        f"| by the shortcut | {short:.1f} us, {asgi / short:.1f} times less |",
        "",
        "| work that holds the loop | without care | in Voxgate |",
        "|---|---|---|",
        f"| a message of 1 MiB: at once, in slices | {at_once:.1f} ms | {sliced:.1f} ms at a time |",
        f"| a full round of the garbage collector: before and after `gc.freeze` | {before:.0f} ms | {left} ms |",
    ]


def main() -> None:
    if sys.argv[1:] == ["gc"]:
        print(json.dumps(collections_ms()))
        return
    lines = costs()
    sections.figures("server", PAGE, "\n".join([*pressure(), "", *lines]))


if __name__ == "__main__":
    main()
