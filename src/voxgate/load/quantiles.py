"""Quantiles, and a histogram of lateness that is cheap enough for every message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

__all__ = ["Lateness", "Quantiles", "quantiles"]

_BIN_S: Final = 1e-5
_N_BINS: Final = 100_000  # a second; larger values go into the last bin, and count in the maximum as they are


class Quantiles(msgspec.Struct, frozen=True):
    """Of `n` values, in milliseconds."""

    n: int
    p50: float
    p95: float
    p99: float
    p99_9: float
    max: float


def quantiles(values_s: Sequence[float] | array[float]) -> Quantiles | None:
    """The quantiles of values in seconds; None without values.

    A quantile is one of the values: the smallest one that is not below its share of them.
    """
    if not len(values_s):
        return None
    ordered = 1000 * np.sort(np.asarray(values_s, dtype=np.float64))
    p50, p95, p99, p99_9, most = (
        round(float(value), 3) for value in np.quantile(ordered, (0.5, 0.95, 0.99, 0.999, 1.0), method="inverted_cdf")
    )
    return Quantiles(len(ordered), p50, p95, p99, p99_9, most)


class Lateness:
    """How much later than due each message was sent, in bins of 10 us."""

    def __init__(self) -> None:
        self.n = 0
        self.max_s = 0.0
        self._bins = [0] * _N_BINS

    @classmethod
    def merged(cls, parts: Sequence[Lateness]) -> Lateness:
        """That of all messages of the parts."""
        whole = cls()
        whole.n, whole.max_s = sum(part.n for part in parts), max(part.max_s for part in parts)
        whole._bins = np.sum([part._bins for part in parts], axis=0).tolist()
        return whole

    def add(self, late_s: float) -> None:
        self.n += 1
        if late_s > self.max_s:
            self.max_s = late_s
        index = int(late_s / _BIN_S)
        self._bins[index if index < _N_BINS else -1] += 1

    def quantiles(self) -> Quantiles | None:
        """None when nothing was sent."""
        if not self.n:
            return None
        below = np.cumsum(self._bins)
        p50, p95, p99, p99_9 = (
            round(1000 * _BIN_S * (int(np.searchsorted(below, share * self.n)) + 1), 2)
            for share in (0.5, 0.95, 0.99, 0.999)
        )
        return Quantiles(self.n, p50, p95, p99, p99_9, round(1000 * self.max_s, 3))
