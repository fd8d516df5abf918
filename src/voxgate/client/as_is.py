"""Sound files that go to the server as they are: it decodes them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any, Final

from voxgate.audio.containers.sniff import SNIFF_BYTES, sniff
from voxgate.audio.files import container_of

__all__ = ["HEAD_BYTES", "FileBlocks", "PrefixedFile", "head_of", "is_for_the_server", "may_be_for_the_server"]

HEAD_BYTES: Final = 12
_BLOCK_BYTES: Final = 65_536
_FOR_THE_SERVER: Final = ("Matroska or WebM", "MP4")
_PERHAPS_FOR_THE_SERVER: Final = ("aac", "ogg", "mp3")


def is_for_the_server(head: bytes) -> bool:
    """Whether a file that begins so can be decoded by a server, and not here: soundfile reads no such container."""
    return container_of(head) in _FOR_THE_SERVER


def may_be_for_the_server(path: str) -> bool:
    """Whether a server may decode a file that soundfile does not read: AAC in ADTS, Speex in Ogg. Raises OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    with open(path, "rb") as file:
        head = file.read(SNIFF_BYTES)
    found = sniff(head, is_all=len(head) < SNIFF_BYTES)
    return found is not None and found.container in _PERHAPS_FOR_THE_SERVER


def head_of(path: str) -> bytes:
    """The first HEAD_BYTES of a regular file; empty for a pipe, from which nothing is taken. Raises OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return b""
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


class FileBlocks(Iterator[bytes]):
    """The bytes of a file as they become available. Closes it at the end, or when nobody refers to this object."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._file = open(path, "rb")  # noqa: SIM115 - closed below
        self.n_bytes = os.fstat(self._file.fileno()).st_size
        """Of a regular file."""

    def __next__(self) -> bytes:
        # read1 returns what is available; read would wait for a full block, which a live pipe fills late.
        if not self._file.closed and (block := self._file.read1(_BLOCK_BYTES)):
            return block
        self._file.close()
        raise StopIteration

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # it was opened
            self._file.close()


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
