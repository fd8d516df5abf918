"""The beginning of an MP3 or ADTS stream: its tags are left out, and its first frames come together."""

from __future__ import annotations

from typing import Final

__all__ = ["HEAD_BYTES", "Mp3Head"]

HEAD_BYTES: Final = 4096
"""FFmpeg looks for two frames in a row and goes back, which it can only do in what it got with one read."""

_TAG_BYTES: Final = 10


class Mp3Head:
    """Takes the bytes of a stream, cut anywhere, and returns them without the ID3v2 tags at its beginning. The first
    HEAD_BYTES are returned at once.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._skip_bytes = 0
        self._is_over = False

    def push(self, data: bytes) -> bytes:
        """The bytes that may be read now."""
        if self._is_over:
            return data
        self._held += data
        self._skip_tags()
        if self._skip_bytes or len(self._held) < HEAD_BYTES:
            return b""
        return self.finish()

    def finish(self) -> bytes:
        """The rest: no more bytes follow, or none need to be held."""
        self._is_over = True
        held, self._held = bytes(self._held), bytearray()
        return held

    def _skip_tags(self) -> None:
        held = self._held
        while True:
            n_bytes = min(self._skip_bytes, len(held))
            del held[:n_bytes]
            self._skip_bytes -= n_bytes
            if self._skip_bytes or len(held) < _TAG_BYTES or held[:3] != b"ID3":
                return
            size = 0
            for byte in held[6:_TAG_BYTES]:
                size = size << 7 | byte & 0x7F
            has_footer = held[5] & 0x10
            self._skip_bytes = _TAG_BYTES + size + (_TAG_BYTES if has_footer else 0)
