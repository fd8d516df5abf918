"""Many streams on one model, through real sockets: do batches form, does a lone stream pay for it, is it fair?

    python bench/batching.py [--streams 200] [--seconds 15] [--set vad.detector=energy]

The server runs in a process of its own, the clients in this one. The model is the dummy that batches: a call takes
50 ms, and 10 ms an item, where nothing else is said. Prints a Markdown table; exit code 1 when a bound is missed.

load      live streams of the bundled speech, segmented: has every segment its result, how large is the mean batch?
alone     one stream that asks, waits for the answer, and asks again: how much slower than with batching off?
fair      equal streams that send as fast as they may: Jain's index over the seconds of audio answered.
ten       live streams, one of which sends ten times as much: by how much do the others' answers come later (p99)?
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from voxgate.client import stream
from voxgate.protocol.events import Error, Inactive, Segment
from voxgate.recordings import path

MODEL = {
    "model": "dummy",
    "model.delay": 0.05,
    "model.item_delay": 0.01,
    "model.constant_factor": 0.0,
    "model.jitter": 0.0,
    "model.panic_rate": 0.0,
    "model.warmup_penalty": 0.0,
}
RATE = 16_000
START = json.dumps(
    {"request": "start", "format": {"channels": 1, "sample_rate": RATE, "bit_depth": 16, "is_float": False}}
)


def serve(overrides: Mapping[str, Any], pipe: multiprocessing.connection.Connection) -> None:
    """The server; asked over the pipe, it says how many jobs and batches there were."""
    import uvloop

    from voxgate.config import load_config
    from voxgate.server.server import Server
    from voxgate.server.sockets import listen
    from voxgate.service.service import Service

    config = load_config(environ={}, overrides={"server.port": 0, "server.log_level": "error", **overrides})
    service = Service(config)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listen(config.server) as sock:
            server = Server(service, lambda error: pipe.send(error or sock.getsockname()[1]))
            serving = asyncio.ensure_future(server.serve(sockets=[sock]))
            await loop.run_in_executor(None, pipe.recv)
            counts = service.engine.counts()
            pipe.send((counts.jobs, counts.batches))
            server.ask_to_end()
            await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.mean_batch = 0.0

    def url(self, route: str) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/{route}"


@contextmanager
def running(settings: Mapping[str, Any]) -> Iterator[Server]:
    """A server with the model above; `mean_batch` is known afterwards."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=({**MODEL, **settings}, theirs))
    process.start()
    port = ours.recv()
    if isinstance(port, BaseException):
        raise port
    server = Server(port)
    try:
        yield server
    finally:
        ours.send("stop")
        n_jobs, n_batches = ours.recv()
        server.mean_batch = n_jobs / max(1, n_batches)
        process.join()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


# --- load ---


async def live(number: int, server: Server, n_streams: int) -> tuple[int, int]:
    """One stream of the bundled speech at live pace: how many segments ended, and how many had a result."""
    await asyncio.sleep(12.5 * number / n_streams)
    n_inactive = n_results = 0
    address = server.url("segmented")
    async for event in stream(path("demo"), addr=address, chunk_size=640, real_time=True, interim_results=True):
        n_inactive += isinstance(event, Inactive)
        n_results += isinstance(event, Segment) and event.is_final is True
        if isinstance(event, Error):
            print("error:", event.message)
    return n_inactive, n_results


def load(n_streams: int, seconds: float, settings: Mapping[str, Any]) -> tuple[str, str, bool]:
    async def main(server: Server) -> list[tuple[int, int]]:
        return await asyncio.gather(*(live(number, server, n_streams) for number in range(n_streams)))

    with running({"inference.threads": 1, **settings}) as server:
        outcomes = asyncio.run(main(server))
    complete = sum(n_inactive == n_results > 0 for n_inactive, n_results in outcomes)
    n_results = sum(n_results for _, n_results in outcomes)
    return (
        f"load: {n_streams} live streams, segmented, with interims",
        f"{complete} streams have all their results ({n_results}), mean batch {server.mean_batch:.1f}",
        complete == n_streams and server.mean_batch > 4,
    )


# --- alone ---


async def ask(socket: ClientConnection, audio: bytes) -> float:
    """Seconds from sending `audio` until its answer."""
    began_s = time.perf_counter()
    await socket.send(audio)
    event = json.loads(await socket.recv())
    assert event["type"] == "segment", event
    return time.perf_counter() - began_s


def alone(n_streams: int, seconds: float, settings: Mapping[str, Any]) -> tuple[str, str, bool]:
    common = {"inference.threads": 1, "model.delay": 0.005, "model.item_delay": 0.0, **settings}

    async def main(batching: Server, plain: Server) -> tuple[list[float], list[float]]:
        async with connect(batching.url("simple")) as one, connect(plain.url("simple")) as other:
            took_s: tuple[list[float], list[float]] = ([], [])
            for socket in (one, other):
                await socket.send(START)
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:  # In turns: whatever else the machine does meets both.
                for mine, socket in zip(took_s, (one, other), strict=True):
                    mine.append(await ask(socket, bytes(RATE // 5)))
            return took_s

    with running(common) as batching, running({**common, "inference.max_batch_size": 1}) as plain:
        took_s, plain_s = asyncio.run(main(batching, plain))
    added_s = statistics.median(took_s) - statistics.median(plain_s)
    return (
        f"alone: one stream, {len(took_s)} calls of 5 ms, one after the other",
        f"median {1000 * statistics.median(took_s):.2f} ms; added by batching {1000 * added_s:+.3f} ms",
        added_s < 0.001,
    )


# --- fair ---


async def flood(server: Server, until_s: float) -> float:
    """Sends as fast as it may; seconds of audio answered until then."""
    answered_s = 0.0
    async with connect(server.url("simple"), max_queue=None) as socket:
        await socket.send(START)

        async def send() -> None:
            while True:
                await socket.send(bytes(RATE))

        sending = asyncio.ensure_future(send())
        try:
            async with asyncio.timeout_at(until_s):
                async for message in socket:
                    answered_s = json.loads(message)["end_time"]
        except TimeoutError:
            pass
        sending.cancel()
        socket.transport.abort()
    return answered_s


def fair(n_streams: int, seconds: float, settings: Mapping[str, Any]) -> tuple[str, str, bool]:
    n_streams = min(n_streams, 24)

    async def main(server: Server) -> list[float]:
        until_s = asyncio.get_running_loop().time() + seconds
        return await asyncio.gather(*(flood(server, until_s) for _ in range(n_streams)))

    with running({"inference.threads": 1, "simple.max_chunk_s": 1.0, **settings}) as server:
        answered_s = asyncio.run(main(server))
    jain = sum(answered_s) ** 2 / (len(answered_s) * sum(value**2 for value in answered_s))
    return (
        f"fair: {n_streams} streams as fast as they may, {seconds:g} s",
        f"Jain's index {jain:.4f}; {sum(answered_s):.0f} s answered, mean batch {server.mean_batch:.1f}",
        jain >= 0.98,
    )


# --- ten ---

CHUNK_S = 0.5


async def speak(server: Server, number: int, pause_s: float, end_s: float) -> list[float]:
    """Sends half a second of audio every `pause_s`, whatever comes back; how long each took to be answered."""
    sent_s: list[float] = []
    took_s: list[float] = []
    async with connect(server.url("simple")) as socket:
        await socket.send(START)

        async def send() -> None:
            at_s = time.monotonic() + pause_s * ((number * 0.618) % 1)
            while at_s < end_s:
                await asyncio.sleep(at_s - time.monotonic())
                sent_s.append(time.monotonic())
                await socket.send(bytes(round(CHUNK_S * RATE) * 2))
                at_s += pause_s
            await socket.send('{"request":"stop","disconnect":true}')

        sending = asyncio.ensure_future(send())
        async for message in socket:
            n_answered = round(json.loads(message)["end_time"] / CHUNK_S)
            now_s = time.monotonic()
            took_s += [now_s - sent_s[i] for i in range(len(took_s), n_answered)]
        await sending
    return took_s


def ten(n_streams: int, seconds: float, settings: Mapping[str, Any]) -> tuple[str, str, bool]:
    n_streams, n_threads, n_items, load = min(n_streams, 40), 8, 8, 0.9
    delay_s, item_delay_s = 0.2, 0.04  # Long, so that what else the machine does counts for little.
    pause_s = n_streams * (delay_s + item_delay_s * n_items) / (load * n_threads * n_items)
    common = {
        "inference.threads": n_threads,
        "inference.max_batch_size": n_items,
        "inference.per_stream": 256,
        "model.delay": delay_s,
        "model.item_delay": item_delay_s,
        "simple.max_chunk_s": CHUNK_S,
        **settings,
    }

    async def others_took_s(server: Server, factor: int) -> list[float]:
        end_s = time.monotonic() + seconds
        took_s = await asyncio.gather(
            *(speak(server, i, pause_s / (1 if i else factor), end_s) for i in range(n_streams))
        )
        return [value for stream in took_s[1:] for value in stream]

    took_s: dict[int, list[float]] = {1: [], 10: []}
    for _ in range(2):  # In turns: whatever else the machine does meets both.
        for factor in took_s:
            with running(common) as server:
                took_s[factor] += asyncio.run(others_took_s(server, factor))
    before_s, after_s = (percentile(values, 0.99) for values in took_s.values())
    return (
        f"ten: {n_streams} live streams at {load:.0%} load of a call of 200 ms and 40 ms an item, one of them tenfold",
        f"the others' p99 {1000 * before_s:.0f} -> {1000 * after_s:.0f} ms ({after_s / before_s - 1:+.1%})",
        after_s < 1.1 * before_s,
    )


PARTS: dict[str, Callable[[int, float, Mapping[str, Any]], tuple[str, str, bool]]] = {
    "load": load,
    "alone": alone,
    "fair": fair,
    "ten": ten,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which of them; all, when none is named")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[])
    args = parser.parse_args()
    settings = dict(text.split("=", 1) for text in args.set)
    good = True
    print("| what | found | as it should be |\n|---|---|---|")
    for name in args.parts or PARTS:
        what, found, is_good = PARTS[name](args.streams, args.seconds, settings)
        print(f"| {what} | {found} | {'yes' if is_good else 'NO'} |", flush=True)
        good &= is_good
    print(f"\n{os.cpu_count()} CPUs, settings: {settings or 'the defaults'}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
