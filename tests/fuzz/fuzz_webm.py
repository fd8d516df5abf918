"""WebM: any bytes, and streams that are nearly right, give the same packets however they are cut."""

from __future__ import annotations

from fuzz.containers import check_demuxer
from fuzz.source import Source
from helpers import matroska
from voxgate._native.webm import WebmDemuxer

IDS = (
    matroska.EBML, matroska.SEGMENT, matroska.CLUSTER, matroska.TRACKS, matroska.TRACK, matroska.INFO, matroska.VOID,
    matroska.CRC, matroska.SIMPLE_BLOCK, matroska.GROUP, matroska.BLOCK, matroska.DISCARD, matroska.TIME, 0xE1, 0xB5,
    0x9F, 0x86, 0x83, 0xD7, 0x63A2, 0x56AA, 0x6D80, 0x2AD7B1,
)  # fmt: skip


def stream_of(source: Source) -> bytes:
    data = matroska.head() if source.flag() else b""
    while source.left and len(data) < 20_000:
        kind = source.integer(0, 7)
        if kind == 0:
            data += source.take(source.size(30))
        elif kind == 1:
            data += matroska.unknown(source.pick(IDS), source.integer(1, 8))
        elif kind == 2:
            data += matroska.identifier(source.pick(IDS)) + matroska.vint(source.integer(0, 2**40), 8)
        elif kind == 3:
            data += matroska.element(source.pick(IDS), source.take(source.size(40)))
        elif kind == 4:
            data += matroska.cluster(source.integer(0, 2**33), is_known=source.flag())
        else:
            lacing = source.integer(0, 3)
            frames = [source.take(source.size(20)) for _ in range(source.integer(1, 4) if lacing else 1)]
            frames = [frame.ljust(5, b"\x48")[:5] for frame in frames] if lacing == matroska.FIXED else frames
            wrap = matroska.simple if kind < 7 else matroska.group
            data += wrap(frames, source.integer(-300, 300), source.integer(1, 2), lacing)
    return data


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.flag():
        check_demuxer(WebmDemuxer, source.rest(), source)
    else:
        check_demuxer(WebmDemuxer, stream_of(Source(source.take(source.left * 3 // 4))), source)


SEEDS = [
    bytes([1]) + matroska.head() + matroska.cluster(0, matroska.simple([b"\x48abc"]), matroska.group([b"\x48"], 20)),
    bytes([1]) + matroska.head() + matroska.cluster(0, matroska.simple([b"\x48abc", b"\x48"], 0, 1, matroska.XIPH)),
    bytes([1]) + matroska.head() + matroska.cluster(0, matroska.simple([b"\x48ab"] * 3, 0, 1, matroska.EBML_LACING)),
    bytes([0, 1, 4, 1, 0, 6, 0, 5, 72, 1, 2, 3]) + bytes(range(200)),
]
