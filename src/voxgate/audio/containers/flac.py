"""FLAC as it arrives, decoded by our own code: a frame is there when its last byte is."""

from __future__ import annotations

from collections.abc import Iterator

from voxgate._native.flac import FlacDecoder
from voxgate.audio.containers.base import TruncatedMedia
from voxgate.audio.containers.errors import raise_error
from voxgate.audio.containers.flac_packets import flac_format
from voxgate.audio.containers.pieces import in_pieces, silence
from voxgate.audio.containers.work import PARTS_PER_S, WorkBound
from voxgate.protocol.formats import AudioFormat

__all__ = ["FlacContainer"]


class FlacContainer:
    """A `Container`: s16 for at most 16 bits, else float32. Damaged frames are silence."""

    def __init__(self, parts_per_s: int = PARTS_PER_S) -> None:
        self.format: AudioFormat | None = None
        self._decoder = FlacDecoder()
        self._work = WorkBound(parts_per_s)

    def push(self, data: bytes) -> Iterator[bytes]:
        """See `Container.push`."""
        self._decoder.feed(data)
        yield from self._pieces()

    def finish(self) -> Iterator[bytes]:
        """See `Container.finish`."""
        self._decoder.end()
        yield from self._pieces()
        if self._decoder.is_truncated:
            raise TruncatedMedia("the FLAC stream ends before the end of its audio")

    def _pieces(self) -> Iterator[bytes]:
        decoder = self._decoder
        while (samples := decoder.read()) is not None:
            format = self._know()
            if not samples:
                yield b""
            elif format is not None:
                yield from silence(decoder.gap, format)
                yield from in_pieces(samples, format)
            self._check()
        self._know()
        raise_error(decoder.error)
        self._check()

    def _check(self) -> None:
        decoder = self._decoder
        if decoder.n_parts > self._work.most_parts:
            self._work.check(decoder.n_parts, decoder.pos / max(1, decoder.rate))

    def _know(self) -> AudioFormat | None:
        if self.format is None and self._decoder.rate and self._decoder.error is None:
            self.format = flac_format(self._decoder)
        return self.format

    def close(self) -> None:
        """See `Container.close`."""
