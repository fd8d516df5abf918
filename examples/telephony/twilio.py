"""Telephone calls as live text: a bridge from Twilio's Media Streams to Voxgate. Telnyx sends much the same.

    pip install 'voxgate[moonshine]'
    voxgate serve moonshine
    python twilio.py                    # ws://localhost:9000; Twilio needs wss://, from a proxy in front of it

and in the TwiML of the number, before what connects the call (`<Connect><Stream>` works too; it sends `inbound` alone):

    <Response><Start><Stream url="wss://voice.example.com/" track="both_tracks" /></Start><Dial>...</Dial></Response>

Twilio sends a JSON message for each 20 ms of audio: mu-law, 8 kHz, in base64. The bytes go on as they are: Voxgate
decodes mu-law and resamples. Each side of the call (`inbound`: the caller; `outbound`) is a stream of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from voxgate.client import AudioFormat, ClientError, stream
from voxgate.protocol.events import Segment

ADDRESS = os.environ.get("VOXGATE_ADDRESS", "ws://localhost:8080/api/v1/segmented")
MU_LAW = AudioFormat(1, 8_000, 8, False, "mulaw")
LONGEST_QUEUE = 1500  # messages of 20 ms

OnText = Callable[[str, str, str], None]
"""Is called with the id of the call, the track and the text of each utterance."""


class Track:
    """The audio of one side of a call, on its way to the server."""

    def __init__(self, call: str, name: str, address: str, on_text: OnText) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(LONGEST_QUEUE)
        self._task = asyncio.create_task(self._run(call, name, address, on_text))

    async def put(self, audio: bytes | None) -> None:
        """None: the end. Waits while the server is too slow; without a server, the audio is dropped."""
        if not self._task.done():
            await self._queue.put(audio)

    async def end(self) -> None:
        """Returns when all results have come."""
        await self.put(None)
        await self._task

    async def _audio(self) -> AsyncIterator[bytes]:
        while (audio := await self._queue.get()) is not None:
            yield audio

    async def _run(self, call: str, name: str, address: str, on_text: OnText) -> None:
        try:
            async for event in stream(self._audio(), addr=address, format=MU_LAW, reconnect=True):
                if isinstance(event, Segment) and (text := event.output.get("text")):
                    on_text(call, name, str(text))
        except ClientError as error:
            print(f"{call} {name}: {error}", flush=True)
        finally:
            while not self._queue.empty():  # wakes a `put` that waits for room
                self._queue.get_nowait()


async def bridge(websocket: ServerConnection, address: str, on_text: OnText) -> None:
    """One call: Twilio's messages in, texts out."""
    call, tracks = "", dict[str, Track]()
    try:
        async for data in websocket:
            message: dict[str, Any] = json.loads(data)
            match message["event"]:
                case "start":
                    call, format = message["start"]["callSid"], message["start"]["mediaFormat"]
                    if (format["encoding"], format["sampleRate"], format["channels"]) != ("audio/x-mulaw", 8000, 1):
                        await websocket.close(1003, f"expected mu-law at 8000 Hz, got {format}"[:120])
                        return
                case "media":
                    name = message["media"]["track"]
                    if name not in tracks:
                        tracks[name] = Track(call, name, address, on_text)
                    await tracks[name].put(base64.b64decode(message["media"]["payload"]))
                case "stop":
                    break
                case _:
                    pass  # connected, dtmf, mark
    finally:
        await asyncio.gather(*(track.end() for track in tracks.values()))


async def main() -> None:
    def show(call: str, track: str, text: str) -> None:
        print(f"{call} {track}: {text}", flush=True)

    async with serve(lambda websocket: bridge(websocket, ADDRESS, show), "127.0.0.1", 9000) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
