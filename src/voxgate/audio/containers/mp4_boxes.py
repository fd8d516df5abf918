"""The outermost boxes of an MP4 file: whether its index comes first, and whether it is complete."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["BoxScanner"]

_HEAD_BYTES: Final = 8
_LARGE_HEAD_BYTES: Final = 16


class BoxScanner:
    """Follows the outermost boxes of a file as its bytes arrive, cut anywhere. Keeps at most one head of a box."""

    def __init__(self) -> None:
        self.order: Literal["index first", "media first"] | None = None
        """Which of the two came first: the index (`moov`) or media (`mdat`); None: neither yet."""
        self.has_index = False
        self.n_bytes = 0
        """Taken so far."""
        self.ready_bytes = 0
        """Up to here, everything stands before or in media: no box of the index is incomplete."""
        self._is_media = False
        self._head = b""
        self._left_bytes: int | None = 0  # of the box; None: it extends to the end of the file

    def push(self, data: bytes) -> None:
        """Takes the next bytes."""
        begin, at = self.n_bytes, 0
        self.n_bytes += len(data)
        while at < len(data) and self._left_bytes is not None:
            if self._left_bytes:
                n_bytes = min(self._left_bytes, len(data) - at)
                self._left_bytes -= n_bytes
                at += n_bytes
                if self._is_media:
                    self.ready_bytes = begin + at
                continue
            wanted = _LARGE_HEAD_BYTES if self._head[:4] == b"\0\0\0\1" and len(self._head) >= 4 else _HEAD_BYTES
            more = data[at : at + wanted - len(self._head)]
            self._head += more
            at += len(more)
            if self._head[:4] == b"\0\0\0\1" and len(self._head) < _LARGE_HEAD_BYTES:
                continue
            if len(self._head) >= _HEAD_BYTES:
                self._begin_box()
        if self._left_bytes is None and self._is_media:
            self.ready_bytes = self.n_bytes

    @property
    def is_complete(self) -> bool:
        """Whether the file may end here: between two boxes, or in one that extends to the end."""
        return self._left_bytes is None or (self._left_bytes == 0 and not self._head)

    def _begin_box(self) -> None:
        name, size = self._head[4:8], int.from_bytes(self._head[:4], "big")
        if size == 1:
            size = int.from_bytes(self._head[8:16], "big")
        self._left_bytes = None if size == 0 else max(0, size - len(self._head))
        self._head = b""
        self._is_media = name == b"mdat"
        if name == b"moov":
            self.has_index = True
            self.order = self.order or "index first"
        elif name == b"mdat":
            self.order = self.order or "media first"
