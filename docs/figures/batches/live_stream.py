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
class Answers:
    """The answers of a live stream."""

    end_s: list[float] = field(default_factory=list)
    """Position of the last audio of each call."""
    group_s: list[float] = field(default_factory=list)
    """Audio of each call."""
    late_s: list[float] = field(default_factory=list)
    """From the sending of its last audio to each answer."""


async def stream_live(url: str) -> Answers:
    from websockets.asyncio.client import connect

    answers = Answers()
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
                    answers.end_s.append(event["end_time"])
                    answers.group_s.append(event["end_time"] - event["start_time"])
                    answers.late_s.append(time.monotonic() - began_s - event["end_time"])
        sending.cancel()
        socket.transport.abort()
    return answers


def live() -> dict[str, Answers]:
    """Both at once: their models sleep."""
    settings = {**WITHIN, "inference.threads": 1, "inference.per_stream": 1}
    with running({**settings, "simple.max_chunk_s": CHUNK_S}) as single, running(settings) as batching:

        async def both() -> list[Answers]:
            return await asyncio.gather(*(stream_live(server.url("simple")) for server in (single, batching)))

        found = asyncio.run(both())
    return dict(zip(("a call for each 100 ms", "a call for all that is there"), found, strict=True))


def draw_within(found: Mapping[str, Answers]) -> None:
    plt = plots.pyplot()
    figure, (late, group) = plt.subplots(1, 2, figsize=plots.size(2.6), layout="constrained")
    for (name, answers), colour in zip(found.items(), (plots.OUTSIDE, plots.OURS), strict=True):
        late.plot(answers.end_s, answers.late_s, "o-", ms=3, lw=1, color=colour, label=name)
        group.plot(answers.end_s, answers.group_s, "o-", ms=3, lw=1, color=colour)
    late.set_ylabel("delay of the answer, s")
    late.legend(fontsize=8)
    group.set_ylabel("audio in the call, s")
    for pane in (late, group):
        pane.set_xlabel("spoken at, s")
        pane.set_xlim(0, WITHIN_S)
        pane.set_ylim(0, None)
    plots.save(figure, "batching-within")
