"""The head of an Opus stream (RFC 7845, section 5.1): in the first packet of Ogg, and in the CodecPrivate of WebM."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from voxgate.audio.containers.base import BrokenMedia, UnsupportedMedia

__all__ = ["OpusHead", "parse_opus_head"]

# Of the channels that Vorbis, and so Opus, orders in its own way, in the order of WAV and FFmpeg.
_WAV_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}


@dataclass(frozen=True, slots=True)
class OpusHead:
    """``pre_skip``: samples at 48 kHz at the beginning that are not part of the audio. ``gain``: factor of the output.

    ``mapping``: for each channel, in the order of Vorbis, which decoded channel it is; of ``n_streams`` streams, the
    first ``n_coupled`` have two.
    """

    channels: int
    pre_skip: int = 0
    gain: float = 1.0
    n_streams: int = 1
    n_coupled: int = 0
    mapping: tuple[int, ...] = (0,)

    @property
    def wav_mapping(self) -> tuple[int, ...]:
        """``mapping`` in the order of WAV."""
        return tuple(self.mapping[channel] for channel in _WAV_ORDER.get(self.channels, range(self.channels)))

    @property
    def is_simple(self) -> bool:
        """One stream, mono or stereo."""
        return self.n_streams == 1 and self.mapping in ((0,), (0, 1)) and self.n_coupled == self.channels - 1


def parse_opus_head(data: bytes) -> OpusHead:
    """Raises BrokenMedia, and UnsupportedMedia for mapping families other than 0 and 1."""
    if len(data) < 19 or not data.startswith(b"OpusHead") or data[8] > 15:
        raise BrokenMedia("the head of the Opus stream is damaged")
    channels, pre_skip, _, gain, family = struct.unpack_from("<BHIhB", data, 9)
    factor = 1.0 if gain == 0 else 10.0 ** (gain / 256 / 20)
    if family == 0:
        if channels not in (1, 2):
            raise BrokenMedia(f"the head of the Opus stream has {channels} channels in mapping family 0")
        return OpusHead(channels, pre_skip, factor, 1, channels - 1, tuple(range(channels)))
    if family != 1:
        raise UnsupportedMedia(f"Opus with channel mapping family {family}; 0 and 1 are supported")
    if not 1 <= channels <= 8 or len(data) < 21 + channels:
        raise BrokenMedia(f"the head of the Opus stream is damaged: {channels} channels in mapping family 1")
    n_streams, n_coupled = data[19], data[20]
    mapping = tuple(data[21 : 21 + channels])
    if not 0 < n_streams <= channels or n_coupled > n_streams:
        raise BrokenMedia(f"the head of the Opus stream is damaged: {n_streams} streams for {channels} channels")
    if any(source >= n_streams + n_coupled and source != 255 for source in mapping):
        raise BrokenMedia("the head of the Opus stream is damaged: a channel of no stream")
    return OpusHead(channels, pre_skip, factor, n_streams, n_coupled, mapping)
