"""Writes Ogg, page by page."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from helpers.matroska import opus_head

CONTINUED, FIRST, LAST = 1, 2, 4
TAGS = b"OpusTags" + struct.pack("<I", 4) + b"test" + struct.pack("<I", 0)


def crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if value & 0x80000000 else value << 1
    return value


def page(
    packets: Sequence[bytes], granule: int, sequence: int, flags: int = 0, serial: int = 7, is_open: bool = False
) -> bytes:
    """`is_open`: the last packet, whose length must be a multiple of 255, goes on on the next page."""
    lacing = b""
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    if is_open:
        lacing = lacing[:-1]
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, sequence, 0, len(lacing)) + lacing
    body = head + b"".join(packets)
    return body[:22] + struct.pack("<I", crc(body)) + body[26:]


def headers(serial: int = 7, channels: int = 1, pre_skip: int = 312) -> bytes:
    return page([opus_head(channels, pre_skip)], 0, 0, FIRST, serial) + page([TAGS], 0, 1, 0, serial)
