"""What PCM decoding means, said plainly: a whole stream at once, in NumPy."""

import numpy as np
from numpy.typing import NDArray

SAMPLE_BYTES = {"s16": 2, "s32": 4, "u8": 1, "s24": 3, "f32": 4, "f64": 8, "mulaw": 1, "alaw": 1}
ENCODINGS = tuple(SAMPLE_BYTES)


def _mulaw(byte: int) -> float:
    """ITU-T G.711 section 3.2: 14-bit values; the character signal is inverted on the wire."""
    code = byte ^ 0xFF
    segment, step = code >> 4 & 7, code & 15
    value = (2 * step + 33) * 2**segment - 33
    return (-value if code & 0x80 else value) / 8192


def _alaw(byte: int) -> float:
    """ITU-T G.711 section 3.1: 13-bit values; the even bits are inverted on the wire."""
    code = byte ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    value = 2 * step + 1 if segment == 0 else (2 * step + 33) * 2 ** (segment - 1)
    return (value if code & 0x80 else -value) / 4096


MULAW = np.array([_mulaw(byte) for byte in range(256)], np.float32)
ALAW = np.array([_alaw(byte) for byte in range(256)], np.float32)


def decode_samples(encoding: str, data: bytes) -> NDArray[np.float32]:
    """Whole samples to float32; a rest shorter than a sample is dropped."""
    size = SAMPLE_BYTES[encoding]
    data = data[: len(data) // size * size]
    if encoding == "mulaw":
        return MULAW[np.frombuffer(data, np.uint8)]
    if encoding == "alaw":
        return ALAW[np.frombuffer(data, np.uint8)]
    if encoding == "s24":
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int64)
        value = parts[:, 0] + parts[:, 1] * 256 + parts[:, 2] * 65536
        return (np.where(value >= 2**23, value - 2**24, value) / 2**23).astype(np.float32)
    if encoding in ("f32", "f64"):
        value = np.frombuffer(data, f"<f{size}")
        return np.clip(np.where(np.isfinite(value), value, 0.0), -1.0, 1.0).astype(np.float32)
    if encoding == "u8":
        return ((np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128).astype(np.float32)
    return (np.frombuffer(data, f"<i{size}") / 2.0 ** (8 * size - 1)).astype(np.float32)


def decode(encoding: str, channels: int, data: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All whole frames as (channels, frames), and what a split frame at the end leaves as (channels, 0 or 1)."""
    frame_bytes = channels * SAMPLE_BYTES[encoding]
    whole = len(data) // frame_bytes * frame_bytes
    planes = decode_samples(encoding, data[:whole]).reshape(-1, channels).T
    rest = decode_samples(encoding, data[whole:])
    tail = np.zeros((channels, 1 if len(rest) else 0), np.float32)
    tail[: len(rest), :] = rest[:, None]
    return planes, tail
