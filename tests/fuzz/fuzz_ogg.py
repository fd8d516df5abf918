"""Ogg: any bytes, and pages that are nearly right, give the same packets however they are cut."""

from __future__ import annotations

from fuzz.containers import check_demuxer
from fuzz.source import Source
from helpers import ogg_pages
from helpers.matroska import opus_head
from voxgate._native.ogg import OggDemuxer

FLAC = b"\x7fFLAC\x01\0\0\1fLaC\0\0\0\x22" + bytes(34)
PACKETS = (
    b"",
    b"\x48",
    b"\x48abc",
    bytes(255),
    b"\x4b\x83" + bytes(300),
    b"\xff\xf8flac",
    opus_head(),
    FLAC,
    b"\1vorbis",
)


def stream_of(source: Source) -> bytes:
    data = ogg_pages.headers() if source.flag() else b""
    sequence = 2
    while source.left and len(data) < 20_000:
        if source.integer(0, 7) == 0:
            data += source.take(source.size(60))
            continue
        packets = [source.pick(PACKETS) for _ in range(source.size(6))]
        is_open = bool(packets) and source.flag()
        if is_open:
            packets[-1] = bytes(255 * source.integer(1, 3))
        granule = source.pick((-1, 0, 960, 960 * sequence, source.integer(0, 2**62), -(2**63), 2**63 - 1))
        made = ogg_pages.page(packets, granule, sequence, source.integer(0, 7), source.integer(7, 8), is_open)
        sequence = (sequence + source.pick((1, 1, 1, 0, 2, -1, 2**31))) % 2**32
        at = source.integer(0, len(made)) if source.integer(0, 9) == 0 else len(made)
        data += made[:at]
    return data


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.flag():
        check_demuxer(OggDemuxer, source.rest(), source)
    else:
        check_demuxer(OggDemuxer, stream_of(Source(source.take(source.left * 3 // 4))), source)


SEEDS = [
    bytes([1]) + ogg_pages.headers() + ogg_pages.page([b"\x48abc"] * 2, 1900, 2, ogg_pages.LAST),
    bytes([1]) + ogg_pages.page([FLAC], 0, 0, ogg_pages.FIRST) + ogg_pages.page([b"\x84\0", b"\xff\xf8"], 0, 1),
    bytes([0, 1, 1, 3, 2, 1, 0, 3, 0, 7]) + bytes(range(200)),
    bytes([0, 1, 7, 1, 1, 255, 2, 2]) + bytes([90, 7, 200, 31] * 30),
]
