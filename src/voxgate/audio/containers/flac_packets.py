"""A FLAC stream within another container: whole frames become PCM."""

from __future__ import annotations

from collections.abc import Iterator

from voxgate._native.flac import FlacDecoder
from voxgate.audio.containers.base import BrokenMedia
from voxgate.audio.containers.errors import raise_error
from voxgate.audio.containers.pieces import silence
from voxgate.protocol.formats import AudioFormat

__all__ = ["FlacStream", "flac_format"]

_INFO_BYTES = 34


def flac_format(decoder: FlacDecoder) -> AudioFormat:
    """Of the PCM that the decoder returns."""
    is_float = decoder.bits > 16
    return AudioFormat(decoder.channels, decoder.rate, 32 if is_float else 16, is_float)


class FlacStream:
    """Decodes the frames of one stream. `head`: from "fLaC" on, with STREAMINFO. Raises MediaError.

    Threads: one caller at a time.
    """

    def __init__(self, head: bytes) -> None:
        if not head.startswith(b"fLaC") or len(head) < 8 + _INFO_BYTES:
            raise BrokenMedia("the head of the FLAC stream is damaged")
        self._decoder = FlacDecoder()
        self._decoder.begin(head[8 : 8 + _INFO_BYTES])
        raise_error(self._decoder.error)
        self.format = flac_format(self._decoder)

    def take(self, packet: bytes, duration: int, gap: int, trim_begin: int, trim_end: int) -> Iterator[bytes]:
        """The PCM of a frame, and silence for the frames that are missing before it. A damaged frame is silence, or no
        bytes when its head is damaged too: then it is missing before the next one. Raises MediaError.
        """
        samples = self._decoder.decode(packet)
        if samples is None:
            raise_error(self._decoder.error)
            yield b""
            return
        yield from silence(self._decoder.gap, self.format)
        yield samples
