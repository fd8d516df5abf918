"""Compressed audio and its containers, decoded as the bytes arrive.

:mod:`.base` is the interface of a container, :mod:`.sniff` tells containers apart by their first bytes.
"""

from voxgate.audio.containers.base import (
    CONTAINERS,
    BrokenMedia,
    Container,
    DecoderFailed,
    MediaError,
    MediaLimit,
    Sniffed,
    TruncatedMedia,
    UnsupportedMedia,
)
from voxgate.audio.containers.decoders import Decoders
from voxgate.audio.containers.limits import MediaLimits
from voxgate.audio.containers.sniff import sniff
from voxgate.audio.containers.stream import MediaStream

__all__ = [
    "CONTAINERS",
    "BrokenMedia",
    "Container",
    "DecoderFailed",
    "Decoders",
    "MediaError",
    "MediaLimit",
    "MediaLimits",
    "MediaStream",
    "Sniffed",
    "TruncatedMedia",
    "UnsupportedMedia",
    "sniff",
]
