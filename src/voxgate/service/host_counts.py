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

_MAX_COLUMNS: Final = 131_072
_ADDRESS: Final = "address "
_TOKEN: Final = "token "


class HostCounts:
    """A table in a memory-mapped file: a row for each process, a column for each address and each token. A process
    changes its own row alone, and its successor clears it, so that what a killed process held is free again.

    A lock on the file orders the changes; the kernel releases it when its holder dies. A call takes some tens of
    microseconds; for an address that is new to this process, with the largest table, some hundreds. One thread.
    """

    def __init__(self, path: Path, number: int, n_processes: int, max_streams: int) -> None:
        """`number`: of this process, below `n_processes`. All processes pass the same path. Raises OSError."""
        # There are never more addresses than streams, nor more tokens.
        n_columns = min(2 * max_streams, _MAX_COLUMNS)
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
        """The column and the streams of each address and each token that has streams of this process."""
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
            if address is not None and not self._add(_ADDRESS + address, max_of_address):
                return "streams_per_address"
            self._counts[self._number, -1] += 1
        return None

    def leave(self, address: str | None) -> None:
        """The stream of an earlier `enter` has ended."""
        with self._locked():
            if address is not None:
                self._subtract(_ADDRESS + address)
            self._counts[self._number, -1] -= 1

    def enter_token(self, key: str, max_of_token: int) -> bool:
        """Counts a stream that has entered also among those of its token. False: there are as many as there may be."""
        with self._locked():
            return self._add(_TOKEN + key, max_of_token)

    def leave_token(self, key: str) -> None:
        """The stream of an earlier `enter_token` has ended."""
        with self._locked():
            self._subtract(_TOKEN + key)

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

    def _add(self, name: str, max_streams: int) -> bool:
        """With the lock held, as all below."""
        column, n_own = self._own.get(name) or (self._column(name), 0)
        if int(self._counts[:, column].sum()) >= max_streams:
            return False
        self._counts[self._number, column] += 1
        self._own[name] = column, n_own + 1
        return True

    def _subtract(self, name: str) -> None:
        column, n_own = self._own.pop(name)
        self._counts[self._number, column] -= 1
        if n_own > 1:
            self._own[name] = column, n_own - 1

    def _column(self, name: str) -> int:
        """The column of a name without streams of this process, perhaps a new one."""
        key = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        found = np.flatnonzero(self._keys == key)
        if len(found):
            return int(found[0])
        free = np.flatnonzero(np.bitwise_or.reduce(self._counts[:, :-1], axis=0) == 0)
        if not len(free):  # More names than columns: they share the last one.
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
