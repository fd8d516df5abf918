"""Ten hours in a few kilobytes: memory stays flat, and the time is bounded by what the stream really holds."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import matroska, ogg_pages
from helpers.flac_checksum import crc_8, crc_16
from helpers.matroska import cluster, element, simple
from helpers.media import RATE, SPEECH
from helpers.memory_endpoint import MemoryEndpoint, Stage
from voxgate.audio.containers.encoding import encode
from voxgate.models import Model
from voxgate.protocol.formats import ContainerFormat
from voxgate.protocol.requests import Start, Stop

HOURS_S = 36_000
PACKET_120_MS = b"\xff\x06"
MOST_BYTES = 12 << 20
INFO = struct.pack(">HH6xQ16x", 4096, 4096, 16_000 << 44 | 15 << 36)  # STREAMINFO


class Count(Model):
    sample_rate = 4_000

    def infer(self, audio: np.ndarray) -> dict[str, int]:
        return {"count": len(audio)}


async def session_of(messages: list[bytes], **settings: Any) -> list[Any]:
    """The events of a session on the simple route."""
    async with Stage(Count(), **{"limits.buffered_audio_s": 10.0, **settings}) as stage:
        endpoint = MemoryEndpoint()
        task = stage.session(endpoint)
        endpoint.say(Start(ContainerFormat("auto"), notices=True), *messages, Stop(disconnect=True))
        await task
        return endpoint.events


def answered(messages: list[bytes], **settings: Any) -> tuple[list[Any], int]:
    """The same, and the most memory that it took."""
    tracemalloc.start()
    try:
        return asyncio.run(session_of(messages, **settings)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def resident_bytes(name: str = "VmRSS") -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def silent_flac() -> bytes:
    """14 bytes for each 16 s."""
    rate, block = 4_000, 65_535
    info = struct.pack(">HH6xQ16x", block, block, rate << 44 | 15 << 36)
    frames = [b"fLaC\x80\0\0\x22" + info]
    for index in range(-(-HOURS_S * rate // block)):
        head = b"\xff\xf8\x70\x08" + chr(index).encode() + struct.pack(">H", block - 1)
        frame = head + crc_8(head) + bytes(3)  # one constant subframe
        frames.append(frame + crc_16(frame))
    return b"".join(frames)


def test_ten_hours_of_silence():
    data = silent_flac()
    assert len(data) < 40_000
    before_bytes = resident_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    # In long calls: what is looked at here is the way to them.
    settings = {"simple.min_chunk_ms": 60_000, "simple.max_chunk_s": 60, "limits.buffered_audio_s": 120}
    events = asyncio.run(session_of([data], **settings))
    assert resident_bytes("VmHWM") - before_bytes < 64 << 20  # all of it would be 288 MB
    assert [event.type for event in events if event.type == "error"] == []
    finished = events[-1]
    assert finished.type == "finished"
    assert HOURS_S <= finished.received_s == finished.processed_s < HOURS_S + 17


def jumps() -> bytes:
    """WebM whose time jumps by 59 s from packet to packet: each gap is silence."""
    return matroska.head() + b"".join(cluster(59_000 * k, simple([PACKET_120_MS])) for k in range(HOURS_S // 59 + 1))


def test_ten_hours_of_gaps_end_at_the_limit_of_decoded_audio():
    events, peak_bytes = answered([jumps()], **{"media.decoded_s": 1800})
    error, finished = events[-2:]
    assert (error.code, error.message) == ("media_limit", "more than 1800 s of audio (media.decoded_s)")
    assert 1790 < finished.received_s == finished.processed_s <= 1800
    assert peak_bytes < MOST_BYTES


def ten_hours_announced(container: str) -> bytes:
    """Two seconds of speech behind a head that says ten hours."""
    audio = SPEECH[:, : 2 * RATE]
    data = bytearray(encode(audio, RATE, container))
    if container == "wav":
        struct.pack_into("<I", data, data.index(b"data") + 4, 2 * 16_000 * HOURS_S)
    else:
        data[22:26] = (HOURS_S * RATE).to_bytes(4)
    return bytes(data)


@pytest.mark.parametrize("container", ["wav", "flac"])
def test_a_head_that_announces_ten_hours(container):
    pytest.importorskip("av")
    events, peak_bytes = answered([ten_hours_announced(container)])
    error, finished = events[-2:]
    assert error.code == "truncated_media"
    assert finished.received_s == pytest.approx(2.0)
    assert peak_bytes < MOST_BYTES


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (matroska.head(), cluster(0, element(0xEC, b"") * 30_000)),
        (b"", ogg_pages.headers() * 300),
        (b"fLaC\0\0\0\x22" + INFO, b"\6\0\xff\xfc" + bytes(65_532)),
        (b"RIFF\xff\xff\xff\xffWAVE", b"LIST" + struct.pack("<I", 65_528) + bytes(65_528)),
        (matroska.head(), element(0xEC, bytes(65_000))),
    ],
    ids=["webm elements", "ogg links", "flac pictures", "wav chunks", "webm void"],
)
def test_a_head_without_end(head, part):
    """Ten hours of it are as long as the first megabytes: then there is an error, and the rest is dropped."""
    n_parts = (17 << 20) // len(part) + 1
    events, peak_bytes = answered([head, *[part] * n_parts, part, part])
    assert [event.type for event in events if event.type != "started"] == ["error", "finished"]
    assert events[-2].code == "media_limit"
    assert events[-1].received_s == 0
    assert peak_bytes < MOST_BYTES
