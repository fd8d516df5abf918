"""The checksums of FLAC."""

from __future__ import annotations

__all__ = ["crc_8", "crc_16"]


def _checksum(data: bytes, n_bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << n_bits - 8
        for _ in range(8):
            value = value << 1 ^ polynomial if value >> n_bits - 1 else value << 1
            value &= (1 << n_bits) - 1
    return value


def crc_8(data: bytes) -> bytes:
    """Of the head of a frame."""
    return _checksum(data, 8, 0x07).to_bytes(1)


def crc_16(data: bytes) -> bytes:
    """Of a whole frame."""
    return _checksum(data, 16, 0x8005).to_bytes(2)
