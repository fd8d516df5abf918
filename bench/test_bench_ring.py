"""The sample ring, against the two things one writes in NumPy: a preallocated ring, and np.concatenate.

"live" is an idle live stream: 20 ms at 16 kHz come in, all but the last 600 ms are given up.
"collect" keeps 5 s and then reads them back; "read" is that read alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgate._native.ring import SampleRing

Benchmark = Callable[..., Any]
Samples = NDArray[np.float32]

CAPACITY = 31 * 16_000
CHUNK = np.random.default_rng(0).standard_normal(320).astype(np.float32)
PREFIX = 9600
UTTERANCE = 5 * 16_000


class NumpyRing:
    """All of the capacity at once, written and read in up to two pieces."""

    def __init__(self, capacity: int) -> None:
        self.samples = np.zeros(capacity, np.float32)
        self.capacity = capacity
        self.start_pos = self.end_pos = 0

    def push(self, samples: Samples) -> None:
        n = len(samples)
        if self.end_pos + n - self.start_pos > self.capacity:
            raise BufferError
        at = self.end_pos % self.capacity
        first = min(n, self.capacity - at)
        self.samples[at : at + first] = samples[:first]
        if first < n:
            self.samples[: n - first] = samples[first:]
        self.end_pos += n

    def discard_before(self, pos: int) -> None:
        if pos > self.end_pos:
            raise IndexError
        self.start_pos = max(pos, self.start_pos)

    def read(self, start_pos: int, end_pos: int) -> Samples:
        if not self.start_pos <= start_pos <= end_pos <= self.end_pos:
            raise IndexError
        at, n = start_pos % self.capacity, end_pos - start_pos
        first = min(n, self.capacity - at)
        if first == n:
            return self.samples[at : at + n].copy()
        return np.concatenate([self.samples[at:], self.samples[: n - first]])


class ConcatenateRing:
    """One array, made anew by every push."""

    def __init__(self, capacity: int) -> None:
        self.samples = np.empty(0, np.float32)
        self.capacity = capacity
        self.start_pos = 0

    @property
    def end_pos(self) -> int:
        return self.start_pos + len(self.samples)

    def push(self, samples: Samples) -> None:
        if len(self.samples) + len(samples) > self.capacity:
            raise BufferError
        self.samples = np.concatenate([self.samples, samples])

    def discard_before(self, pos: int) -> None:
        if pos > self.end_pos:
            raise IndexError
        if pos > self.start_pos:
            self.samples = self.samples[pos - self.start_pos :]
            self.start_pos = pos

    def read(self, start_pos: int, end_pos: int) -> Samples:
        if not self.start_pos <= start_pos <= end_pos <= self.end_pos:
            raise IndexError
        return self.samples[start_pos - self.start_pos : end_pos - self.start_pos].copy()


Ring = SampleRing | NumpyRing | ConcatenateRing


def live(benchmark: Benchmark, ring: Ring) -> None:
    benchmark.group = "ring live: push 20 ms, give up the oldest"
    ring.push(np.zeros(PREFIX, np.float32))

    def step() -> None:
        ring.push(CHUNK)
        ring.discard_before(ring.end_pos - PREFIX)

    benchmark(step)


def collect(benchmark: Benchmark, ring: Ring) -> None:
    benchmark.group = "ring collect: 5 s in 20 ms chunks, then read and give up"

    def utterance() -> Samples:
        for _ in range(UTTERANCE // len(CHUNK)):
            ring.push(CHUNK)
        audio = ring.read(ring.start_pos, ring.end_pos)
        ring.discard_before(ring.end_pos)
        return audio

    benchmark(utterance)


def read(benchmark: Benchmark, ring: Ring) -> None:
    benchmark.group = "ring read: an utterance of 5 s"
    ring.push(np.zeros(UTTERANCE + 7, np.float32))
    benchmark(ring.read, 3, 3 + UTTERANCE)


def test_voxgate_live(benchmark: Benchmark) -> None:
    live(benchmark, SampleRing(CAPACITY))


def test_numpy_live(benchmark: Benchmark) -> None:
    live(benchmark, NumpyRing(CAPACITY))


def test_concatenate_live(benchmark: Benchmark) -> None:
    live(benchmark, ConcatenateRing(CAPACITY))


def test_voxgate_collect(benchmark: Benchmark) -> None:
    collect(benchmark, SampleRing(CAPACITY))


def test_numpy_collect(benchmark: Benchmark) -> None:
    collect(benchmark, NumpyRing(CAPACITY))


def test_concatenate_collect(benchmark: Benchmark) -> None:
    collect(benchmark, ConcatenateRing(CAPACITY))


def test_voxgate_read(benchmark: Benchmark) -> None:
    read(benchmark, SampleRing(CAPACITY))


def test_numpy_read(benchmark: Benchmark) -> None:
    read(benchmark, NumpyRing(CAPACITY))


def test_concatenate_read(benchmark: Benchmark) -> None:
    read(benchmark, ConcatenateRing(CAPACITY))
