"""PCM in pieces that hold the event loop for a short time only."""

from __future__ import annotations

from collections.abc import Iterator

from voxgate.audio.containers.base import PIECE_S
from voxgate.protocol.formats import AudioFormat

__all__ = ["in_pieces", "piece_bytes", "silence"]


def piece_bytes(format: AudioFormat) -> int:
    """The longest piece: whole frames, PIECE_S over all channels."""
    return max(1, int(PIECE_S * format.sample_rate / format.channels)) * format.frame_bytes


def in_pieces(pcm: bytes, format: AudioFormat) -> Iterator[bytes]:
    """`pcm` in pieces of at most `piece_bytes`; none for no bytes."""
    size = piece_bytes(format)
    if len(pcm) <= size:
        if pcm:
            yield pcm
        return
    for begin in range(0, len(pcm), size):
        yield pcm[begin : begin + size]


def silence(n_frames: int, format: AudioFormat) -> Iterator[bytes]:
    """`n_frames` zeros of a signed format in pieces of at most 125 ms; none for no frames."""
    while n_frames > 0:
        n = min(n_frames, format.sample_rate // 8)
        yield bytes(n * format.frame_bytes)
        n_frames -= n
