"""Waits until somebody says a wake word, and then runs a command: with the word, in the variable WAKEWORD.

    pip install 'voxgate[wakeword,microphone]'
    voxgate serve wakeword
    python wait_for.py -- sh -c 'echo "at your service, $WAKEWORD"'

The server keeps a state for each stream (/api/v1/stateful), so that a word is found however the audio is cut. The words
are "Okay Nabu", "Hey Jarvis", "Hey Mycroft" and "Alexa".
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

from voxgate.client import Microphone, Source, stream
from voxgate.protocol.events import Segment

ADDRESS = os.environ.get("VOXGATE_ADDRESS", "ws://localhost:8080/api/v1/stateful")


async def wake_words(source: Source, address: str) -> AsyncIterator[tuple[str, float]]:
    """Each word that is said, and its time in seconds since the start of the stream."""
    async for event in stream(source, addr=address):
        if isinstance(event, Segment) and "wakeword" in event.output:
            for found in (event.output, *event.output.get("more", ())):
                yield found["wakeword"], found["time"]


async def main(command: list[str]) -> None:
    async for word, time_s in wake_words(Microphone(), ADDRESS):
        print(f"{time_s:.1f} s: {word}", flush=True)
        if command:
            subprocess.Popen(command, env={**os.environ, "WAKEWORD": word})


if __name__ == "__main__":
    try:
        asyncio.run(main([word for word in sys.argv[1:] if word != "--"]))
    except KeyboardInterrupt:
        print()
