"""Chapter 6, batching: what one call for several pieces of audio gains, within a stream and across streams.

    python docs/figures/batching.py

The server and the way to measure it are those of bench/batching.py: a server in a process of its own, clients here,
real sockets. Its model sleeps, so that what is seen is the queue and not the machine; what batches are worth to a model
that computes is measured apart, in this process and on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import contextlib
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
# bench first: `batching` is the one there, and not this file.
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools"), str(ROOT / "tests")]

import plots
import sections
from batching import running

RATE = 16_000
CHUNK_S = 0.1
START = json.dumps(
    {"request": "start", "format": {"channels": 1, "sample_rate": RATE, "bit_depth": 16, "is_float": False}}
)


# --- within a stream ---

WITHIN = {"model.delay": 0.2, "model.item_delay": 0.0, "model.constant_factor": 0.1}
WITHIN_S = 8.0


@dataclass
class Heard:
    """A live stream: for each answer, the seconds of audio up to which it went, how many those were, and how long after
    they had been sent it came.
    """

    end_s: list[float] = field(default_factory=list)
    group_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)


async def listen_live(url: str) -> Heard:
    from websockets.asyncio.client import connect

    heard = Heard()
    async with connect(url) as socket:
        await socket.send(START)
        began_s = time.monotonic()

        async def send() -> None:
            for i in range(1, round(WITHIN_S / CHUNK_S) + 1):  # a chunk is sent when its last sample was spoken
                await asyncio.sleep(began_s + i * CHUNK_S - time.monotonic())
                await socket.send(bytes(2 * round(CHUNK_S * RATE)))

        sending = asyncio.ensure_future(send())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                async for message in socket:
                    event = json.loads(message)
                    heard.end_s.append(event["end_time"])
                    heard.group_s.append(event["end_time"] - event["start_time"])
                    heard.late_s.append(time.monotonic() - began_s - event["end_time"])
        sending.cancel()
        socket.transport.abort()
    return heard


# --- across streams ---

ACROSS = {
    "model.delay": 0.02,
    "model.item_delay": 0.004,
    "inference.threads": 1,
    "inference.per_stream": 64,
    "simple.min_chunk_ms": 300,
    "simple.max_chunk_s": 0.3,
    "limits.queue_wait_s": 3600,  # nobody is turned away, whatever the others wait
    "metrics.max_age_s": 0,
}
ASK_EVERY_S = 0.4
UTTERANCE_S = 0.3
ACROSS_S = 1.6
STREAMS = (1, 4, 8, 16, 24, 32, 48, 64, 80)


@dataclass
class Load:
    """So many streams that ask every ASK_EVERY_S, for ACROSS_S seconds."""

    n_streams: int
    took_s: list[float]
    """From the utterance to its answer; those without an answer count with what they had waited by then."""
    n_answered: int
    mean_batch: float

    @property
    def p50_s(self) -> float:
        return statistics.median(self.took_s)

    @property
    def p99_s(self) -> float:
        return sorted(self.took_s)[len(self.took_s) * 99 // 100]


async def ask_again_and_again(url: str, number: int, until_s: float) -> tuple[list[float], int]:
    from websockets.asyncio.client import connect

    sent_s: list[float] = []
    took_s: list[float] = []
    async with connect(url) as socket:
        await socket.send(START)

        async def send() -> None:
            at_s = time.monotonic() + ASK_EVERY_S * ((number * 0.618) % 1)
            while at_s < until_s:
                await asyncio.sleep(at_s - time.monotonic())
                sent_s.append(time.monotonic())
                await socket.send(bytes(2 * round(UTTERANCE_S * RATE)))
                at_s += ASK_EVERY_S

        sending = asyncio.ensure_future(send())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until_s - time.monotonic()):
                async for message in socket:
                    n_answered = round(json.loads(message)["end_time"] / UTTERANCE_S)
                    now_s = time.monotonic()
                    took_s += [now_s - sent_s[i] for i in range(len(took_s), n_answered)]
        sending.cancel()
        socket.transport.abort()
    n_answered = len(took_s)
    return took_s + [until_s - at_s for at_s in sent_s[n_answered:]], n_answered


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, _, value in samples}  # each of those wanted here is one


def batch_sums(port: int) -> tuple[float, float]:
    """Calls that ran, and batches."""
    samples = metrics(port)
    return samples["voxgate_batch_size_sum"], samples["voxgate_batch_size_count"]


async def loaded(server: Any, n_streams: int) -> Load:
    until_s = time.monotonic() + ACROSS_S
    before = await asyncio.to_thread(batch_sums, server.port)
    url = server.url("simple")
    found = await asyncio.gather(*(ask_again_and_again(url, i, until_s) for i in range(n_streams)))
    jobs, batches = (
        now - then for now, then in zip(await asyncio.to_thread(batch_sums, server.port), before, strict=True)
    )
    took_s = [value for stream, _ in found for value in stream]
    return Load(n_streams, took_s, sum(n for _, n in found), jobs / max(1.0, batches))


async def loaded_one_by_one(server: Any, streams: Sequence[int]) -> list[Load]:
    loads = []
    for n_streams in streams:
        loads.append(await loaded(server, n_streams))
        await asyncio.sleep(0.3)  # the call that was running
    return loads


async def side_by_side(*loads: Any) -> list[list[Load]]:
    """Servers whose models sleep do not disturb each other."""
    return await asyncio.gather(*loads)


SINGLE_STREAMS = round(ASK_EVERY_S / (ACROSS["model.delay"] + ACROSS["model.item_delay"]))
"""So many streams fill the model when their calls run one by one."""


def across() -> dict[str, list[Load]]:
    few = [n for n in STREAMS if n <= 2 * SINGLE_STREAMS]
    with running({**ACROSS, "inference.max_batch_size": 1}) as single, running(ACROSS) as batching:
        found = asyncio.run(side_by_side(loaded_one_by_one(single, few), loaded_one_by_one(batching, STREAMS)))
    return dict(zip(("one by one", "in batches"), found, strict=True))


WINDOWS_MS = (0, 5, 20, 50)
WINDOW_STREAMS = (4, 12, 32)


def windows() -> dict[int, list[Load]]:
    """What waiting for company does, with a few streams and with many."""
    with contextlib.ExitStack() as servers:
        all_of_them = [
            servers.enter_context(running({**ACROSS, "inference.batch_window_ms": window_ms}))
            for window_ms in WINDOWS_MS
        ]
        found = asyncio.run(side_by_side(*(loaded_one_by_one(server, WINDOW_STREAMS) for server in all_of_them)))
    return dict(zip(WINDOWS_MS, found, strict=True))


# --- interims ---

INTERIM_CALLS_S = (0.1, 0.7, 1.5)


@dataclass
class Speaker:
    """One person who speaks, live and with interims, to a model that takes `call_s` for a call, one at a time."""

    call_s: float
    n_sent: int
    n_superseded: int
    finals_s: list[float]
    """From `inactive` to the final."""


async def speak(server: Any, call_s: float) -> Speaker:
    from voxgate.client import stream
    from voxgate.protocol.events import Inactive, Segment
    from voxgate.recordings import path

    n_sent, finals_s = 0, []
    ended_s: dict[float, float] = {}  # by the end of the utterance: the next may be over before its final comes
    events = stream(path("demo"), addr=server.url("segmented"), chunk_size=640, real_time=True, interim_results=True)
    async for event in events:
        if isinstance(event, Inactive):
            ended_s[event.time] = time.monotonic()
        elif isinstance(event, Segment):
            if event.is_final:
                finals_s.append(time.monotonic() - ended_s[event.end_time])
            else:
                n_sent += 1
    n_superseded = await asyncio.to_thread(metric, server.port, "voxgate_interims_superseded_total")
    return Speaker(call_s, n_sent, round(n_superseded), finals_s)


def metric(port: int, name: str) -> float:
    return metrics(port)[name]


# --- what a batch is worth to a model that computes ---

SIZES = (1, 2, 4, 8, 16, 32)
WIDTH, STEP = 64, 320


def recurrent(size: int) -> Callable[[], object]:
    """A second through a recurrent layer of 64 cells, 20 ms a step: 50 small steps, each of which has to wait for the
    one before.
    """
    luck = np.random.default_rng(0)
    of_audio = (luck.standard_normal((STEP, WIDTH)) / STEP**0.5).astype(np.float32)
    of_state = (luck.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
    audio = luck.standard_normal((size, RATE)).astype(np.float32)

    def call() -> object:
        state = np.zeros((size, WIDTH), np.float32)
        for at in range(0, RATE, STEP):
            state = np.tanh(audio[:, at : at + STEP] @ of_audio + state @ of_state)
        return state

    return call


def silero(size: int) -> Callable[[], object]:
    """A frame of 32 ms through the Silero network in ONNX Runtime."""
    from test_bench_silero import frames

    from reference.silero_onnx import SileroOnnx, build
    from voxgate.vad.weights import load_weights

    network, planes = SileroOnnx(build(load_weights()), size), frames(size)
    return lambda: network.step(planes)


def spectra(size: int) -> Callable[[], object]:
    """A second as a spectrum every 20 ms: as much to compute for each item as for one alone."""
    frames = np.random.default_rng(0).standard_normal((size, RATE // STEP, STEP))
    return lambda: np.abs(np.fft.rfft(frames, axis=2))


WORTH: dict[str, Callable[[int], Callable[[], object]]] = {
    "a small recurrent network, NumPy": recurrent,
    "Silero, ONNX Runtime": silero,
    "spectra, NumPy": spectra,
}


def worth() -> dict[str, list[float]]:
    """CPU seconds of an item, for each model, in batches of SIZES; one thread."""
    found: dict[str, list[float]] = {name: [] for name in WORTH}
    for name, model in WORTH.items():
        for size in SIZES:
            call = model(size)
            call()
            until_s, took_s = time.perf_counter() + 0.2, []
            while time.perf_counter() < until_s or len(took_s) < 3:
                began_s = time.thread_time()
                call()
                took_s.append(time.thread_time() - began_s)
            found[name].append(min(took_s) / size)
    return found


# --- padding ---

BOUNDS_S = (None, 120, 60, 30)


def padding() -> dict[float | None, tuple[float, float]]:
    """Of batches of at most 16 utterances of half a second to ten: their mean size, and which part of them is padding,
    for each bound of padded seconds.
    """
    from voxgate._native.batch import BatchQueue

    luck = np.random.default_rng(0)
    lengths = luck.uniform(0.5, 10.0, 2000)
    found = {}
    for bound_s in BOUNDS_S:
        queue: BatchQueue[object] = BatchQueue(10_000, 1 << 40)
        for seconds in lengths:
            queue.put(object(), None, object(), True, round(seconds * RATE))
        n_jobs = n_batches = n_samples = n_padded = 0
        while len(queue):
            jobs, audio, samples = queue.take(16, 0 if bound_s is None else bound_s * RATE, 0.0)
            n_jobs, n_batches = n_jobs + len(jobs), n_batches + 1
            n_samples, n_padded = n_samples + int(samples.sum()), n_padded + audio.size
        queue.close()
        found[bound_s] = (n_jobs / n_batches, 1 - n_samples / n_padded)
    return found


# --- what comes of it ---


def draw_within(found: Mapping[str, Heard]) -> None:
    plt = plots.pyplot()
    figure, (late, group) = plt.subplots(1, 2, figsize=plots.size(2.6), layout="constrained")
    for (name, heard), colour in zip(found.items(), (plots.OUTSIDE, plots.OURS), strict=True):
        late.plot(heard.end_s, heard.late_s, "o-", ms=3, lw=1, color=colour, label=name)
        group.plot(heard.end_s, heard.group_s, "o-", ms=3, lw=1, color=colour)
    late.set_ylabel("its answer came so much later, s")
    late.legend(fontsize=8)
    group.set_ylabel("audio in the call, s")
    for pane in (late, group):
        pane.set_xlabel("spoken at, s")
        pane.set_xlim(0, WITHIN_S)
        pane.set_ylim(0, None)
    plots.save(figure, "batching-within")


def draw_across(found: Mapping[str, Sequence[Load]]) -> None:
    plt = plots.pyplot()
    figure, (latency, rate) = plt.subplots(1, 2, figsize=plots.size(3.0), layout="constrained")
    for (name, loads), colour in zip(found.items(), (plots.OUTSIDE, plots.OURS), strict=True):
        at = [load.n_streams for load in loads]
        latency.plot(at, [1000 * load.p50_s for load in loads], "o-", ms=3, lw=1, color=colour, label=f"{name}, median")
        latency.plot(at, [1000 * load.p99_s for load in loads], ":", lw=1, color=colour, label=f"{name}, p99")
        rate.plot(at, [load.n_answered / ACROSS_S for load in loads], "o-", ms=3, lw=1, color=colour, label=name)
    asked = [(load.n_streams, len(load.took_s) / ACROSS_S) for load in found["in batches"]]
    rate.plot(*zip(*asked, strict=True), color=plots.WAITS, lw=0.7, label="asked")
    latency.set_yscale("log")
    ticks = (25, 50, 100, 200, 500, 1000, 2000)
    latency.set_yticks(ticks, map(str, ticks))
    latency.minorticks_off()
    latency.set_ylabel("question to answer, ms")
    rate.set_ylabel("answers a second")
    for pane in (latency, rate):
        pane.set_xlabel(f"streams, each asking every {1000 * ASK_EVERY_S:.0f} ms")
        pane.set_xlim(0, None)
        pane.legend(fontsize=8)
    plots.save(figure, "batching-across")


def draw_worth(found: Mapping[str, Sequence[float]]) -> None:
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=plots.size(2.4), layout="constrained")
    for name, item_s in found.items():
        axes.plot(SIZES, [item_s[0] / value for value in item_s], "o-", ms=3, lw=1, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(SIZES, map(str, SIZES))
    axes.set_ylim(0, None)
    axes.set_xlabel("items in a batch; one thread")
    axes.set_ylabel("items a second,\none by one = 1")
    axes.legend(fontsize=8)
    plots.save(figure, "batching-worth")


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def within_table(found: Mapping[str, Heard]) -> list[str]:
    lines = [
        f"| one live stream, {WITHIN_S:g} s | calls answered | audio in a call, at the end | lag at the end |",
        "|---|---|---|---|",
    ]
    for name, heard in found.items():
        lines.append(f"| {name} | {len(heard.end_s)} | {ms(heard.group_s[-1])} | {ms(heard.late_s[-1])} |")
    return lines


def across_table(found: Mapping[str, Sequence[Load]]) -> list[str]:
    lines = [
        "| streams | one by one: median, p99 | answers a second | in batches: median, p99 | answers a second"
        " | mean batch |",
        "|---|---|---|---|---|---|",
    ]
    single = {load.n_streams: load for load in found["one by one"]}
    for load in found["in batches"]:
        cells = []
        for one in (single.get(load.n_streams), load):
            cells += ["", ""] if one is None else [
                f"{ms(one.p50_s)}, {ms(one.p99_s)}", f"{one.n_answered / ACROSS_S:.0f}"
            ]  # fmt: skip
        lines.append(f"| {load.n_streams} | " + " | ".join(cells) + f" | {load.mean_batch:.1f} |")
    return lines


def windows_table(found: Mapping[int, Sequence[Load]]) -> list[str]:
    lines = [
        "| `inference.batch_window_ms` | " + " | ".join(f"{n} streams" for n in WINDOW_STREAMS) + " |",
        "|---" * (1 + len(WINDOW_STREAMS)) + "|",
    ]
    for window_ms, loads in found.items():
        cells = [f"{ms(load.p50_s)}, {ms(load.p99_s)}; batch {load.mean_batch:.1f}" for load in loads]
        lines.append(f"| {window_ms} | " + " | ".join(cells) + " |")
    return lines


def interims_table(found: Sequence[Speaker]) -> list[str]:
    lines = [
        "| a call takes | interims sent | interims superseded | finals | from `inactive` to the final, median |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {ms(one.call_s)} | {one.n_sent} | {one.n_superseded} | {len(one.finals_s)}"
            f" | {ms(statistics.median(one.finals_s))} |"
        )
    return lines


def worth_table(found: Mapping[str, Sequence[float]]) -> list[str]:
    lines = [
        "| CPU time of an item, in batches of | " + " | ".join(map(str, SIZES)) + " |",
        "|---" * (1 + len(SIZES)) + "|",
    ]
    for name, item_s in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{1e6 * value:.3g} us" for value in item_s) + " |")
    return lines


def padding_table(found: Mapping[float | None, tuple[float, float]]) -> list[str]:
    lines = ["| padded seconds of a batch, at most | mean batch | part of it that is padding |", "|---|---|---|"]
    for bound_s, (size, part) in found.items():
        lines.append(f"| {'any number' if bound_s is None else bound_s} | {size:.1f} | {part:.0%} |")
    return lines


def live() -> tuple[dict[str, Heard], list[Speaker]]:
    """What takes seconds of real time, all at once: models that sleep, and five streams."""
    grouped = {**WITHIN, "inference.threads": 1, "inference.per_stream": 1}
    with contextlib.ExitStack() as servers:
        single = servers.enter_context(running({**grouped, "simple.max_chunk_s": CHUNK_S}))
        batching = servers.enter_context(running(grouped))
        slow = [
            servers.enter_context(running({"model.delay": call_s, "model.item_delay": 0.0, "inference.threads": 1}))
            for call_s in INTERIM_CALLS_S
        ]

        async def all_of_them() -> Any:
            return await asyncio.gather(
                listen_live(single.url("simple")),
                listen_live(batching.url("simple")),
                *map(speak, slow, INTERIM_CALLS_S),
            )

        one, all_, *speakers = asyncio.run(all_of_them())
    return {"a call for each 100 ms": one, "a call for all that is there": all_}, speakers


def main() -> int:
    heard, speakers = live()
    draw_within(heard)
    loads = across()
    draw_across(loads)
    gains = worth()
    draw_worth(gains)
    tables = {
        "within": within_table(heard),
        "across": across_table(loads),
        "windows": windows_table(windows()),
        "worth": worth_table(gains),
        "padding": padding_table(padding()),
        "interims": interims_table(speakers),
    }
    page = ROOT / "docs" / "series" / "6-batching.md"
    for name, lines in tables.items():
        sections.put(page, f"figures: batching, {name}", "\n".join(lines))
    where = "The tables and plots of this chapter are from one run of it."
    sections.figures("batching", page, where, onnxruntime=metadata.version("onnxruntime"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
