"""FLAC as it arrives, decoded by our own code: a frame is there when its last byte is."""

from __future__ import annotations

from collections.abc import Iterator

from voxgate._native.flac import FlacDecoder
from voxgate.audio.containers.base import TruncatedMedia
from voxgate.audio.containers.errors import raise_error
from voxgate.audio.containers.flac_packets import flac_format
from voxgate.audio.containers.pieces import in_pieces
from voxgate.protocol.formats import AudioFormat

__all__ = ["FlacContainer"]


class FlacContainer:
    """A `Container`: s16 for at most 16 bits, else float32."""

    def __init__(self) -> None:
        self.format: AudioFormat | None = None
        self._decoder = FlacDecoder()

    def push(self, data: bytes) -> Iterator[bytes]:
        """See `Container.push`."""
        decoder = self._decoder
        decoder.feed(data)
        while (samples := decoder.read()) is not None:
            self._know()
            if not samples:
                yield b""
            elif self.format is not None:
                yield from in_pieces(samples, self.format)
        self._know()
        raise_error(decoder.error)

    def _know(self) -> None:
        if self.format is None and self._decoder.rate and self._decoder.error is None:
            self.format = flac_format(self._decoder)

    def finish(self) -> Iterator[bytes]:
        """See `Container.finish`."""
        yield from ()
        if self._decoder.is_truncated:
            raise TruncatedMedia("the FLAC stream ends before the end of its audio")

    def close(self) -> None:
        """See `Container.close`."""
