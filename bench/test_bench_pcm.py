"""PCM decoding of one 20 ms message, against plain NumPy: decode, de-interleave, carry a split frame.

Headline: s16, two channels, 48 kHz. A "cut" row pushes two messages, of which the first ends inside a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxgate._native.pcm import PcmDecoder, sample_bytes

Benchmark = Callable[..., Any]

FRAMES = 960  # 20 ms at 48 kHz
SCALE = {"s16": 2.0**-15, "s32": 2.0**-31, "s24": 2.0**-31}


def table(encoding: str) -> NDArray[np.float32]:
    return PcmDecoder(encoding, 1).push(bytes(range(256)))[0]


class NumpyDecoder:
    """What one writes with NumPy when it has to be fast: one copy to de-interleave and convert, arithmetic in place."""

    def __init__(self, encoding: str, channels: int) -> None:
        self.encoding, self.channels, self.rest = encoding, channels, b""
        self.sample_bytes = sample_bytes(encoding)
        self.frame_bytes = channels * self.sample_bytes
        self.table = table(encoding) if encoding in ("mulaw", "alaw") else None

    def push(self, data: bytes) -> NDArray[np.float32]:
        if self.rest:
            data = self.rest + data
        whole = len(data) // self.frame_bytes * self.frame_bytes
        self.rest = data[whole:]
        n_samples = whole // self.sample_bytes
        if self.table is not None:
            samples = self.table[np.frombuffer(data, np.uint8, n_samples)]
            return np.ascontiguousarray(samples.reshape(-1, self.channels).T)
        if self.encoding == "s24":
            padded = np.zeros((n_samples, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(data, np.uint8, whole).reshape(-1, 3)
            values = padded.view("<i4").reshape(-1, self.channels)
        else:
            dtype = {"u8": "u1", "s16": "<i2", "s32": "<i4", "f32": "<f4", "f64": "<f8"}[self.encoding]
            values = np.frombuffer(data, dtype, n_samples).reshape(-1, self.channels)
        if self.encoding == "f64":
            values = np.where(np.isfinite(values), values, 0.0)
        planes = values.T.astype(np.float32, order="C")
        if self.encoding == "f32":
            planes[~np.isfinite(planes)] = 0.0
        if self.encoding in ("f32", "f64"):
            return np.clip(planes, -1.0, 1.0, out=planes)
        if self.encoding == "u8":
            planes -= 128.0
            planes *= 1 / 128
            return planes
        planes *= SCALE[self.encoding]
        return planes


def messages(encoding: str, channels: int, cut: bool) -> list[bytes]:
    """Two messages; cut, the first ends one byte into a frame and the second completes it."""
    values = np.random.default_rng(0).uniform(-1, 1, FRAMES * channels * 2)
    if encoding in ("f32", "f64"):
        data = values.astype(f"<f{sample_bytes(encoding)}").tobytes()
    else:
        data = np.random.default_rng(0).bytes(2 * FRAMES * channels * sample_bytes(encoding))
    middle = len(data) // 2 + cut
    return [data[:middle], data[middle:]]


ROWS = [
    ("s16", 2, False),
    ("s16", 2, True),
    ("s16", 1, False),
    ("s16", 6, False),
    ("u8", 2, False),
    ("s24", 2, False),
    ("s32", 2, False),
    ("f32", 2, False),
    ("f64", 2, False),
    ("mulaw", 2, False),
    ("alaw", 2, False),
]


def name(row: tuple[str, int, bool]) -> str:
    return f"{row[0]} {row[1]}ch{' cut' if row[2] else ''}"


def run(benchmark: Benchmark, decoder: PcmDecoder | NumpyDecoder, row: tuple[str, int, bool]) -> None:
    benchmark.group = f"pcm 20 ms 48 kHz {name(row)}"
    first, second = messages(*row)
    if not row[2]:
        benchmark(decoder.push, first)
        return

    def both() -> None:
        decoder.push(first)
        decoder.push(second)

    benchmark(both)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_voxgate_decode(benchmark: Benchmark, row: tuple[str, int, bool]) -> None:
    run(benchmark, PcmDecoder(*row[:2]), row)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_numpy_decode(benchmark: Benchmark, row: tuple[str, int, bool]) -> None:
    ours, theirs = PcmDecoder(*row[:2]), NumpyDecoder(*row[:2])
    for message in messages(*row):
        np.testing.assert_array_equal(ours.push(message), theirs.push(message))
    run(benchmark, NumpyDecoder(*row[:2]), row)
