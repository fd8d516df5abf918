"""A part of a file as a file object."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Window"]


class Window(io.RawIOBase):
    """`n_bytes` of a seekable `file` from `start` on, read-only; `patch`, (position, bytes), replaces bytes.

    Does not close `file`. Threads: one caller at a time, with no other use of `file` during a call.
    """

    def __init__(self, file: BinaryIO, start: int, n_bytes: int, patch: tuple[int, bytes] | None = None) -> None:
        self._file, self._start, self._n_bytes, self._patch = file, start, n_bytes, patch
        self._at = 0

    @property
    def left_bytes(self) -> int:
        """Bytes after the position."""
        return max(0, self._n_bytes - self._at)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._n_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._at)
        data = self._file.read(min(len(view), self.left_bytes))
        view[: len(data)] = data
        if self._patch is not None:
            position, replacement = self._patch
            begin = max(position, self._at)
            end = min(position + len(replacement), self._at + len(data))
            if begin < end:
                view[begin - self._at : end - self._at] = replacement[begin - position : end - position]
        self._at += len(data)
        return len(data)
