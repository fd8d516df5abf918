"""Sound files that go to the server as they are: it decodes them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from voxgate.audio.files import container_of

__all__ = ["HEAD_BYTES", "PrefixedFile", "blocks_of", "head_of", "is_for_the_server"]

HEAD_BYTES: Final = 12
_BLOCK_BYTES: Final = 65_536
_FOR_THE_SERVER: Final = ("Matroska or WebM", "MP4")


def is_for_the_server(head: bytes) -> bool:
    """Whether a file that begins so can be decoded by a server, and not here: soundfile reads no such container."""
    return container_of(head) in _FOR_THE_SERVER


def head_of(path: str) -> bytes:
    """The first HEAD_BYTES of a regular file; empty for a pipe, from which nothing is taken. Raises OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open file from its position on, as they become available; then closes it."""
    with file:
        # read1 returns what is available; read would wait for a full block, which a live pipe fills late.
        read = getattr(file, "read1", file.read)
        while block := read(_BLOCK_BYTES):
            yield block


class PrefixedFile(io.RawIOBase):
    """A pipe whose first bytes were read already: they come again, before the rest."""

    def __init__(self, head: bytes, pipe: Any) -> None:
        self._head = head
        self._pipe = pipe
        self.name = getattr(pipe, "name", None)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return data
        data = self._pipe.read(size)
        return b"" if data is None else bytes(data)

    def read1(self, size: int = -1, /) -> bytes:
        """The bytes that are there."""
        if self._head:
            return self.read(size)
        read: Any = getattr(self._pipe, "read1", self._pipe.read)
        return bytes(read(size))
