"""Batches within a stream: a live stream to a model that is slower than its messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import plots
from batching import running

from batches.session import RATE, START

CHUNK_S = 0.1
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


def live() -> dict[str, Heard]:
    """Both at once: their models sleep."""
    settings = {**WITHIN, "inference.threads": 1, "inference.per_stream": 1}
    with running({**settings, "simple.max_chunk_s": CHUNK_S}) as single, running(settings) as batching:

        async def both() -> list[Heard]:
            return await asyncio.gather(*(listen_live(server.url("simple")) for server in (single, batching)))

        found = asyncio.run(both())
    return dict(zip(("a call for each 100 ms", "a call for all that is there"), found, strict=True))


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
