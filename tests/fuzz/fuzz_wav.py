"""WAV: any chunks give the same samples or the same error however they are cut."""

from __future__ import annotations

import struct

from fuzz.containers import check_container
from fuzz.source import Source
from voxgate.audio.containers.wav import WavContainer

NAMES = (b"fmt ", b"data", b"LIST", b"ds64", b"fact", b"odd ")
SIZES = (0, 1, 16, 40, 80, 0x7FFF_0000, 0xFFFF_FFFF)


def stream_of(source: Source) -> bytes:
    data = source.pick((b"RIFF", b"RIFX", b"RF64", b"BW64")) + struct.pack("<I", source.pick(SIZES)) + b"WAVE"
    order = ">" if data[:4] == b"RIFX" else "<"
    while source.left and len(data) < 5000:
        name = source.pick(NAMES)
        body = source.take(source.size(60))
        if name == b"fmt " and source.integer(0, 3):
            tag, bits = source.pick((1, 3, 6, 7, 0xFFFE, 2)), source.pick((8, 16, 24, 32, 64, 12))
            channels, rate = source.integer(0, 3), source.pick((8_000, 16_000, 0))
            frame = channels * bits // 8
            body = struct.pack(order + "HHIIHH", tag, channels, rate, rate * frame, frame, bits) + body
        size = source.pick(SIZES) if source.integer(0, 5) == 0 else len(body)
        data += name + struct.pack(order + "I", size) + body + bytes(len(body) % 2)
    return data


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.flag():
        check_container(WavContainer, source.rest(), source)
    else:
        check_container(WavContainer, stream_of(Source(source.take(source.left * 3 // 4))), source)


SEEDS = [
    bytes([1])
    + b"RIFF\x64\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x40\0\0\0"
    + bytes(range(64)),
    bytes([1])
    + b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\1\0\1\0\0\x1f\x40\0\0\x3e\x80\0\2\0\x10data\0\0\0\0"
    + bytes(range(64)),
    bytes([0, 0, 0, 0, 0, 1, 0, 2, 1, 0, 1, 5]) + bytes(range(120)),
]
