"""Compressed audio and its containers, decoded as the bytes arrive.

:mod:`.base` is the interface of a container, :mod:`.sniff` tells containers apart by their first bytes.
"""

from voxgate.audio.containers.base import (
    CONTAINERS,
    BrokenMedia,
    Container,
    MediaError,
    MediaLimit,
    Sniffed,
    TruncatedMedia,
    UnsupportedMedia,
)

__all__ = [
    "CONTAINERS",
    "BrokenMedia",
    "Container",
    "MediaError",
    "MediaLimit",
    "Sniffed",
    "TruncatedMedia",
    "UnsupportedMedia",
]
