"""Writes WebM and Matroska, element by element: what muxers seldom write too."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

EBML, SEGMENT, CLUSTER, TRACKS, TRACK, INFO = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0x1549A966
VOID, CRC, SIMPLE_BLOCK, GROUP, BLOCK, DISCARD, TIME = 0xEC, 0xBF, 0xA3, 0xA0, 0xA1, 0x75A2, 0xE7
NO_LACING, XIPH, FIXED, EBML_LACING = 0, 1, 2, 3


def identifier(id: int) -> bytes:
    return id.to_bytes((id.bit_length() + 7) // 8)


def vint(value: int, n_bytes: int | None = None) -> bytes:
    n_bytes = n_bytes or next(n for n in range(1, 9) if value < (1 << 7 * n) - 1)
    return (value | 1 << 7 * n_bytes).to_bytes(n_bytes)


def element(id: int, payload: bytes, size_bytes: int | None = None) -> bytes:
    return identifier(id) + vint(len(payload), size_bytes) + payload


def unknown(id: int, size_bytes: int = 8) -> bytes:
    """The head of an element of unknown size."""
    return identifier(id) + ((1 << 7 * size_bytes + 1) - 1).to_bytes(size_bytes)


def number(id: int, value: int) -> bytes:
    return element(id, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def opus_head(channels: int = 1, pre_skip: int = 312) -> bytes:
    return struct.pack("<8sBBHIhB", b"OpusHead", 1, channels, pre_skip, 48_000, 0, 0)


def track(
    index: int = 1, codec: bytes = b"A_OPUS", kind: int = 2, private: bytes | None = None, extra: bytes = b""
) -> bytes:
    private = opus_head() if private is None else private
    audio = element(0xE1, element(0xB5, struct.pack(">d", 48_000)) + number(0x9F, 1)) if kind == 2 else b""
    body = number(0xD7, index) + number(0x73C5, 99) + number(0x83, kind) + element(0x86, codec)
    return element(TRACK, body + (element(0x63A2, private) if private else b"") + audio + extra)


def head(*tracks: bytes, scale_ns: int = 1_000_000, segment: bytes | None = None) -> bytes:
    doc = element(0x4282, b"webm")
    info = element(INFO, number(0x2AD7B1, scale_ns) + element(0x4D80, b"test") + element(0x5741, b"test"))
    body = info + element(TRACKS, b"".join(tracks or (track(),)))
    return element(EBML, doc) + (unknown(SEGMENT) if segment is None else segment) + body


def block(frames: Sequence[bytes], time: int = 0, index: int = 1, lacing: int = NO_LACING) -> bytes:
    """The contents of a SimpleBlock or Block; `time` in units of the stream, from that of the cluster."""
    laced = b""
    if lacing:
        laced = bytes([len(frames) - 1])
        sizes = [len(frame) for frame in frames]
        if lacing == XIPH:
            laced += b"".join(b"\xff" * (size // 255) + bytes([size % 255]) for size in sizes[:-1])
        elif lacing == EBML_LACING and len(frames) > 1:
            laced += vint(sizes[0])
            for before, size in itertools.pairwise(sizes[:-1]):
                change = size - before
                n = next(n for n in range(1, 9) if abs(change) < (1 << 7 * n - 1) - 1)
                laced += vint(change + (1 << 7 * n - 1) - 1, n)
    return vint(index) + struct.pack(">hB", time, lacing << 1 | 0x80) + laced + b"".join(frames)


def simple(frames: Sequence[bytes], time: int = 0, index: int = 1, lacing: int = NO_LACING) -> bytes:
    return element(SIMPLE_BLOCK, block(frames, time, index, lacing))


def group(
    frames: Sequence[bytes], time: int = 0, index: int = 1, lacing: int = 0, discard_ns: int | None = None
) -> bytes:
    inside = element(BLOCK, block(frames, time, index, lacing))
    if discard_ns is not None:
        inside += element(DISCARD, discard_ns.to_bytes(8, signed=True))
    return element(GROUP, inside)


def cluster(time: int, *children: bytes, is_known: bool = False) -> bytes:
    body = number(TIME, time) + b"".join(children)
    return element(CLUSTER, body) if is_known else unknown(CLUSTER) + body
