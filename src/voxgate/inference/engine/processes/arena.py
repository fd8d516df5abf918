"""Memory that the server and one worker process share for audio, so that no sample is ever pickled."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile

import numpy as np

from voxgate.models.base import Batch, Lengths, Samples

__all__ = ["SAMPLE_BYTES", "SharedArena", "map_batch"]

_KEEP_BYTES = 16 << 20
"""How much of an arena stays allocated between calls; `trim` frees the rest."""

SAMPLE_BYTES = 4


class SharedArena:
    """The server's side: an unnamed file of zeros in memory, mapped here; the worker inherits its file descriptor.

    It has no name, so nothing can stay behind: the kernel frees it with the last process that holds it, however that
    process ends. It is sparse, so its size costs nothing until it is used, and it does not count against ``/dev/shm``,
    which containers keep small. One thread at a time.
    """

    def __init__(self) -> None:
        """Empty until `resize`. Raises OSError when there are no more file descriptors."""
        self._fd = _unnamed_file()
        self._mapping: mmap.mmap | None = None

    @property
    def fd(self) -> int:
        """For the worker to inherit; the arena closes it."""
        return self._fd

    @property
    def n_bytes(self) -> int:
        return 0 if self._mapping is None else len(self._mapping)

    @property
    def memory(self) -> memoryview:
        """All of it, writable, page-aligned. AssertionError before `resize`."""
        if self._mapping is None:
            raise AssertionError("the arena has no size yet")
        return memoryview(self._mapping)

    def resize(self, n_bytes: int) -> None:
        """Called once, before its first use. n_bytes: at least 1."""
        if self._mapping is not None:
            raise AssertionError("the arena was sized twice")
        os.ftruncate(self._fd, n_bytes)
        self._mapping = mmap.mmap(self._fd, n_bytes)

    def trim(self, used_bytes: int) -> None:
        """Frees the memory beyond the first 16 MiB after a batch of more than that, `used_bytes`; its contents are
        lost.
        """
        if self._mapping is None or used_bytes <= _KEEP_BYTES or not hasattr(mmap, "MADV_REMOVE"):
            return
        with contextlib.suppress(OSError):  # Some file systems cannot; then the memory stays allocated.
            self._mapping.madvise(mmap.MADV_REMOVE, _KEEP_BYTES, self.n_bytes - _KEEP_BYTES)

    def close(self) -> None:
        """A second call does nothing. Views that still exist keep the memory until they are freed."""
        if self._mapping is not None:
            with contextlib.suppress(BufferError):
                self._mapping.close()
            self._mapping = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def map_batch(mapping: mmap.mmap, lengths: list[int]) -> Batch:
    """The worker's side: the batch at the beginning of `mapping`, as a view of it.

    lengths: samples of each row, at least one row; all rows are as wide as the longest.
    """
    width = max(lengths)
    audio: Samples = np.frombuffer(mapping, np.float32, len(lengths) * width).reshape(len(lengths), width)
    counts: Lengths = np.array(lengths, np.int64)
    return Batch(audio, counts)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("voxgate-audio", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        fd = os.dup(file.fileno())
    os.set_inheritable(fd, False)
    return fd
