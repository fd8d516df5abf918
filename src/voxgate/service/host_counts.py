"""The streams of all server processes of one host, counted together in a file that they share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

__all__ = ["HostCounts"]

_MAX_ADDRESSES: Final = 65_536


class HostCounts:
    """A table in a memory-mapped file: a row for each process, a column for each address. A process changes its own
    row alone, and its successor clears it, so that what a killed process held is free again.

    A lock on the file orders the changes; the kernel releases it when its holder dies. A call takes some tens of
    microseconds; for an address that is new to this process, with the largest table, some hundreds. One thread.
    """

    def __init__(self, path: Path, number: int, n_processes: int, max_streams: int) -> None:
        """`number`: of this process, below `n_processes`. All processes pass the same path. Raises OSError."""
        # There are never more addresses than streams.
        n_columns = min(max_streams, _MAX_ADDRESSES)
        n_bytes = 8 * n_columns + 4 * n_processes * (n_columns + 1)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < n_bytes:
            os.ftruncate(self._fd, n_bytes)
        self._memory = mmap.mmap(self._fd, n_bytes)
        self._keys = np.frombuffer(self._memory, np.uint64, n_columns)
        counts = np.frombuffer(self._memory, np.uint32, n_processes * (n_columns + 1), 8 * n_columns)
        self._counts = counts.reshape(n_processes, n_columns + 1)
        """The last column: all streams."""
        self._own: dict[str, tuple[int, int]] = {}
        """The column and the streams of each address that has streams of this process."""
        self._number = number
        with self._locked():
            self._counts[number] = 0

    def enter(self, address: str | None, max_streams: int, max_of_address: int) -> str | None:
        """Counts a stream, unless one of the limits is reached: then it returns the name of that limit. A client
        without an address counts as a stream alone.
        """
        with self._locked():
            if int(self._counts[:, -1].sum()) >= max_streams:
                return "streams"
            if address is not None:
                column, n_own = self._own.get(address) or (self._column(address), 0)
                if int(self._counts[:, column].sum()) >= max_of_address:
                    return "streams_per_address"
                self._counts[self._number, column] += 1
                self._own[address] = column, n_own + 1
            self._counts[self._number, -1] += 1
        return None

    def leave(self, address: str | None) -> None:
        """The stream of an earlier `enter` has ended."""
        with self._locked():
            if address is not None:
                column, n_own = self._own.pop(address)
                self._counts[self._number, column] -= 1
                if n_own > 1:
                    self._own[address] = column, n_own - 1
            self._counts[self._number, -1] -= 1

    @property
    def streams(self) -> int:
        """Of all processes."""
        return int(self._counts[:, -1].sum())

    def close(self) -> None:
        """The last call. The file stays, for the other processes."""
        if self._fd >= 0:
            with self._locked():
                self._counts[self._number] = 0
            del self._keys, self._counts
            self._memory.close()
            os.close(self._fd)
            self._fd = -1

    def _column(self, address: str) -> int:
        """The column of an address without streams of this process, perhaps a new one. With the lock held."""
        key = np.uint64(int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest(), "little"))
        found = np.flatnonzero(self._keys == key)
        if len(found):
            return int(found[0])
        free = np.flatnonzero(np.bitwise_or.reduce(self._counts[:, :-1], axis=0) == 0)
        if not len(free):  # More addresses than columns: they share the last one.
            return len(self._keys) - 1
        self._keys[free[0]] = key
        return int(free[0])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
