"""One Opus stream of a container: its packets become PCM of exactly the length that the container gives."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np

from voxgate.audio.containers.av_opus import AvOpusDecoder
from voxgate.audio.containers.base import UnsupportedMedia
from voxgate.audio.containers.libopus import LibopusDecoder, load_libopus
from voxgate.audio.containers.opus_head import OpusHead
from voxgate.protocol.formats import AudioFormat

__all__ = ["OPUS_HZ", "OPUS_RATES", "OpusStream", "has_opus", "opus_rate"]

OPUS_HZ: Final = 48_000
"""The clock of Opus in every container."""
OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
_CONCEALED_SAMPLES: Final = OPUS_HZ * 120 // 1000
"""Of a gap, at 48 kHz: what a decoder guesses after this is silence."""


class OpusDecoder(Protocol):
    """Packets to interleaved float32 at ``rate``."""

    rate: int

    def decode(self, packet: bytes) -> bytes | None: ...

    def conceal(self, n_frames: int) -> bytes: ...


def opus_rate(sample_rate: int | None) -> int:
    """The lowest rate of Opus that is not below `sample_rate`, in Hz; 48000 for None."""
    return next((rate for rate in OPUS_RATES if sample_rate is not None and rate >= sample_rate), OPUS_HZ)


def open_decoder(head: OpusHead, sample_rate: int | None) -> OpusDecoder:
    """By libopus, or else by PyAV. Raises UnsupportedMedia when neither is installed."""
    library = load_libopus()
    if library is not None:
        return LibopusDecoder(library, head, opus_rate(sample_rate))
    try:
        return AvOpusDecoder(head)
    except ImportError:
        raise UnsupportedMedia(
            "Opus needs libopus, or PyAV, and neither is installed: pip install 'voxgate[media]'"
        ) from None


class OpusStream:
    """Decodes the packets of one stream, and conceals what is missing between them.

    ``format``: float32 at the rate of the decoder. All samples of the container's times are at 48 kHz.
    ``n_damaged``: packets that could not be decoded, and were concealed.

    Threads: one caller at a time.
    """

    def __init__(self, head: OpusHead, sample_rate: int | None = None) -> None:
        self._decoder = open_decoder(head, sample_rate)
        rate = self._decoder.rate
        self.format = AudioFormat(head.channels, rate, 32, True)
        self.n_damaged = 0
        self._gain = head.gain
        self._factor = OPUS_HZ // rate
        self._frame_bytes = self.format.frame_bytes
        self._skip = -(-head.pre_skip // self._factor)  # frames at the rate of the decoder

    def take(self, packet: bytes, duration: int, gap: int, trim_begin: int, trim_end: int) -> Iterator[bytes]:
        """The PCM of a packet of `duration` samples, and of the `gap` before it, in pieces of at most 125 ms. The last
        has no bytes when nothing of the packet is heard.
        """
        factor, frame_bytes = self._factor, self._frame_bytes
        if gap:
            yield from self._fill(gap)
        n_frames = duration // factor
        pcm = self._decoder.decode(packet)
        if pcm is None:
            self.n_damaged += 1
            pcm = self._conceal(n_frames)
        if len(pcm) != n_frames * frame_bytes:
            pcm = pcm[: n_frames * frame_bytes].ljust(n_frames * frame_bytes, b"\0")
        if self._skip or trim_begin or trim_end:
            begin = trim_begin // factor
            begin += self._skipped(n_frames - begin)
            pcm = pcm[begin * frame_bytes : max(begin, n_frames - trim_end // factor) * frame_bytes]
        yield self._amplified(pcm)

    def _fill(self, gap: int) -> Iterator[bytes]:
        """A gap, in samples at 48 kHz: what the decoder guesses, then silence."""
        guessed = min(gap, _CONCEALED_SAMPLES) // 120 * 120
        for n_frames in (
            guessed // self._factor,
            *_split((gap - guessed) // self._factor, self.format.sample_rate // 8),
        ):
            if n_frames:
                pcm = self._conceal(n_frames) if guessed else bytes(n_frames * self._frame_bytes)
                pcm = pcm[self._skipped(n_frames) * self._frame_bytes :]
                if pcm:
                    yield self._amplified(pcm)
            guessed = 0

    def _conceal(self, n_frames: int) -> bytes:
        n_bytes = n_frames * self._frame_bytes
        return self._decoder.conceal(n_frames)[:n_bytes].ljust(n_bytes, b"\0")

    def _skipped(self, n_frames: int) -> int:
        """How many of the next frames belong to the pre-skip."""
        n_skipped = min(self._skip, n_frames)
        self._skip -= n_skipped
        return n_skipped

    def _amplified(self, pcm: bytes) -> bytes:
        if self._gain == 1.0:
            return pcm
        return (np.frombuffer(pcm, np.float32) * np.float32(self._gain)).tobytes()


def _split(n_frames: int, most: int) -> Iterator[int]:
    while n_frames > 0:
        yield min(n_frames, most)
        n_frames -= most


def has_opus() -> bool:
    """Whether Opus can be decoded here: libopus or PyAV is installed."""
    return load_libopus() is not None or importlib.util.find_spec("av") is not None
