"""Runs demuxers and containers over bytes in pieces, and FFmpeg as the oracle."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxgate.audio.containers.base import MediaError

MEDIA = Path(__file__).parents[1] / "data" / "media"
READING = MEDIA.parent / "reading"
RECORDINGS = json.loads((MEDIA / "recordings.json").read_text())


def slices(name: str, folder: Path = MEDIA) -> list[bytes]:
    """A recording of a browser as the page sent it."""
    data, pieces, at = (folder / name).read_bytes(), [], 0
    for n_bytes in json.loads((folder / "recordings.json").read_text())[name]["slice_bytes"]:
        pieces.append(data[at : at + n_bytes])
        at += n_bytes
    assert at == len(data)
    return pieces


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` cut at `places`, which may be the same."""
    places = sorted(min(place, len(data)) for place in places)
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def every(data: bytes, n_bytes: int) -> list[bytes]:
    return [data[at : at + n_bytes] for at in range(0, len(data), n_bytes)]


def demux(demuxer: Any, pieces: Sequence[bytes], is_all: bool = False) -> list[Any]:
    """All events of a demuxer or decoder; its error comes last. `is_all`: nothing follows."""
    events = []
    for piece in pieces:
        demuxer.feed(piece)
        while (event := demuxer.read()) is not None:
            events.append(event)
    if is_all:
        demuxer.end()
        while (event := demuxer.read()) is not None:
            events.append(event)
    return [*events, demuxer.error] if demuxer.error is not None else events


def decode(container: Any, pieces: Sequence[bytes]) -> tuple[bytes, MediaError | None]:
    """All PCM of a container, and the error that ended it."""
    pcm = bytearray()
    try:
        for piece in pieces:
            for part in container.push(piece):
                pcm += part
        for part in container.finish():
            pcm += part
    except MediaError as error:
        return bytes(pcm), error
    return bytes(pcm), None


def ffmpeg_packets(data: bytes) -> list[tuple[bytes, float]]:
    """(bytes, time in seconds) of the packets of the first audio stream, by FFmpeg's demuxer."""
    import av

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        return [
            (bytes(packet), float(packet.pts * packet.time_base) if packet.pts is not None else -1.0)
            for packet in container.demux(stream)
            if packet.size
        ]
