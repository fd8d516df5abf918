"""One stream of the client to a scripted server."""

from __future__ import annotations

import asyncio
from typing import Any

from helpers.scripted_server import Received, active, answering, final, inactive, serving
from voxgate import client
from voxgate.protocol.events import Event
from voxgate.protocol.formats import AudioFormat

MONO = AudioFormat(1, 16_000, 16, False)
ONE_SECOND = bytes(32_000)
UTTERANCE = (active(0.1), inactive(0.6), final(0.1, 0.6, loudness=-20.5))


def run(
    handler: Any, source: client.Source = ONE_SECOND, path: str = "/api/v1/segmented", **options: Any
) -> list[Event]:
    """The events of one stream to a server that does `handler`."""
    if isinstance(source, bytes) and "format" not in options:
        options["format"] = MONO

    async def main() -> list[Event]:
        async with serving(handler, path) as addr:
            return [event async for event in client.stream(source, addr=addr, **options)]

    return asyncio.run(asyncio.wait_for(main(), 30))


def sent_by(source: client.Source, **options: Any) -> Received:
    """What reaches the server."""
    sessions: list[Received] = []
    run(answering(sessions=sessions), source, **options)
    return sessions[0]
