"""Batches across streams: many that ask one model at equal intervals, one by one, in batches, and with windows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plots
from batching import running

from batches.session import RATE, START

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
WINDOWS_MS = (0, 5, 20, 50)
WINDOW_STREAMS = (4, 12, 32)
SINGLE_STREAMS = round(ASK_EVERY_S / (ACROSS["model.delay"] + ACROSS["model.item_delay"]))
"""So many streams fill the model when their calls run one by one."""


@dataclass
class Load:
    """`n_streams` that ask every ASK_EVERY_S, for ACROSS_S seconds."""

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
    """The numbers of calls and of batches that ran."""
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


def across() -> dict[str, list[Load]]:
    few = [n for n in STREAMS if n <= 2 * SINGLE_STREAMS]
    with running({**ACROSS, "inference.max_batch_size": 1}) as single, running(ACROSS) as batching:
        found = asyncio.run(side_by_side(loaded_one_by_one(single, few), loaded_one_by_one(batching, STREAMS)))
    return dict(zip(("one by one", "in batches"), found, strict=True))


def windows() -> dict[int, list[Load]]:
    """The effect of a window, with few streams and with many."""
    with contextlib.ExitStack() as servers:
        all_of_them = [
            servers.enter_context(running({**ACROSS, "inference.batch_window_ms": window_ms}))
            for window_ms in WINDOWS_MS
        ]
        found = asyncio.run(side_by_side(*(loaded_one_by_one(server, WINDOW_STREAMS) for server in all_of_them)))
    return dict(zip(WINDOWS_MS, found, strict=True))


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


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


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
