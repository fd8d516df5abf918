"""The models of the soak: those of Voxgate, with the caches of the allocators full from the start, and with a leak.

Freed arrays of less than 1024 bytes are kept for reuse, for each thread: by NumPy up to seven of each size in bytes,
3.6 MiB in all, and behind it by glibc up to seven of each 16 bytes, 0.2 MiB. A server whose audio comes in pieces of
all lengths fills these caches for hours. That growth ends, so the soak does it first; what grows after it has no known
end.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from voxgate.models.base import Samples
from voxgate.models.features import Features as _Features
from voxgate.models.pitch import Pitch as _Pitch

_CACHED_SIZES = range(1, 1024)  # bytes; NBUCKETS of numpy/_core/src/multiarray/alloc.cpp
_CACHED_OF_EACH = 7 + 7  # NCACHE there, and tcache_count of glibc


def fill_caches() -> None:
    """Frees so many arrays of every size that the caches of this thread take no more."""
    for n_bytes in _CACHED_SIZES:
        arrays = [np.empty(n_bytes, np.uint8) for _ in range(_CACHED_OF_EACH)]
        del arrays


class _FillsCaches(threading.local):
    """Fills the caches of each thread that asks `is_full`, once."""

    def __init__(self) -> None:
        fill_caches()
        self.is_full = True


class _Leak:
    """Keeps `n_bytes` of every `add`, in an array that nobody frees."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._kept: list[np.ndarray] = []

    def add(self) -> None:
        if self._n_bytes:
            self._kept.append(np.zeros(self._n_bytes, np.uint8))


class Features(_Features):
    """leak_bytes: of each call."""

    def __init__(self, leak_bytes: int = 0) -> None:
        super().__init__()
        self._caches, self._leak = _FillsCaches(), _Leak(leak_bytes)

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        assert self._caches.is_full
        self._leak.add()
        return super().infer(audio)


class Pitch(_Pitch):
    """leak_bytes: of each channel of a stream."""

    def __init__(self, leak_bytes: int = 0) -> None:
        super().__init__()
        self._caches, self._leak = _FillsCaches(), _Leak(leak_bytes)

    def open(self) -> Any:
        assert self._caches.is_full
        self._leak.add()
        return super().open()
