"""FLAC: any bytes behind a valid head, and frames that are nearly right, give the same samples however they are cut."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from fuzz.containers import check_decoder
from fuzz.source import Source
from helpers.flac_checksum import crc_8, crc_16
from voxgate._native.flac import FlacDecoder


def head(source: Source) -> bytes:
    block = source.pick((16, 192, 4096, 65_535))
    rate, channels, bits = (
        source.pick((1, 8_000, 16_000, 48_000)),
        source.integer(0, 7),
        source.pick((4, 8, 16, 20, 24, 32)),
    )
    packed = rate << 44 | channels << 41 | (bits - 1) << 36 | source.pick((0, 0, 192, 2**36 - 1))
    return b"fLaC\x80\0\0\x22" + block.to_bytes(2) * 2 + bytes(6) + packed.to_bytes(8) + bytes(16)


def frame(source: Source) -> bytes:
    """With the right checks around a body of the source's choice."""
    block, rate, channels, depth = (
        source.integer(0, 15),
        source.integer(0, 15),
        source.integer(0, 11),
        source.integer(0, 7),
    )
    made = bytes([0xFF, 0xF8 | source.integer(0, 1), block << 4 | rate, channels << 4 | depth << 1])
    made += source.pick((b"\0", b"\1", b"\x7f", b"\xc2\x80", b"\xfe\x83\xbf\xbf\xbf\xbf\xbf"))
    made += bytes(1 if block == 6 else 2 if block == 7 else 0) + bytes(1 if rate == 12 else 2 if rate > 12 else 0)
    made += crc_8(made) + source.take(source.size(120))
    return made + crc_16(made)


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.flag():
        check_decoder(FlacDecoder, source.rest(), source)
        return
    made = head(source)
    parts = Source(source.take(source.left * 3 // 4))
    while parts.left and len(made) < 10_000:
        made += frame(parts) if parts.integer(0, 7) else parts.take(parts.size(30))
    check_decoder(FlacDecoder, made, source)


def _file(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format="FLAC")
    return file.getvalue()


SEEDS = [
    bytes([1]) + _file(np.zeros(300)),
    bytes([1]) + _file(np.sin(np.arange(600).reshape(-1, 2))),
    bytes([0, 1, 2, 0, 2, 0, 7, 0, 1, 4, 0, 4, 0, 20]) + bytes(range(160)),
    bytes([0, 2, 2, 1, 2, 1, 1, 0, 6, 4, 8, 4, 0, 90]) + bytes([0x12, 0x40, 3, 0xFF, 0x80] * 30),
]
