"""Live captions in a terminal: words that have settled are bright, the rest is pale, each sentence becomes a line.

    pip install 'voxgate[moonshine,microphone]'
    voxgate serve moonshine
    python captions.py                 # your microphone
    python captions.py reading         # or a recording: a file, or one that comes with Voxgate

The model is one that understands English; any other with text does as well.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TextIO

from voxgate import recordings
from voxgate.client import Microphone, Source, stream
from voxgate.protocol.events import Segment

ADDRESS = os.environ.get("VOXGATE_ADDRESS", "ws://localhost:8080/api/v1/segmented")
PALE, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


async def captions(source: Source, address: str, out: TextIO, real_time: bool | float = True) -> None:
    """Writes captions of the audio to `out`, a terminal, until the audio ends."""
    async for event in stream(source, addr=address, interim_results=True, stability=True, real_time=real_time):
        if not isinstance(event, Segment):
            continue
        text = str(event.output.get("text", ""))
        if event.is_final:
            out.write(f"{CLEAR}{text}\n" if text else CLEAR)
        else:
            settled = (
                event.stable_text if isinstance(event.stable_text, str) and text.startswith(event.stable_text) else ""
            )
            # The end of a long sentence is what is new.
            out.write(f"{CLEAR}{settled}{PALE}{text[len(settled) :]}{PLAIN}")
        out.flush()


def source_of(arguments: list[str]) -> Source:
    if not arguments:
        return Microphone()
    return recordings.path(arguments[0]) if arguments[0] in recordings.names() else arguments[0]


if __name__ == "__main__":
    try:
        chosen = source_of(sys.argv[1:])
        # A microphone has its own pace.
        asyncio.run(captions(chosen, ADDRESS, sys.stdout, real_time=not isinstance(chosen, Microphone)))
    except KeyboardInterrupt:
        print()
