"""Ogg with Opus or FLAC, as browsers record and FFmpeg writes it."""

from __future__ import annotations

from typing import Any

from voxgate._native.ogg import OggDemuxer
from voxgate.audio.containers.flac_packets import FlacStream
from voxgate.audio.containers.opus import OpusStream
from voxgate.audio.containers.opus_head import parse_opus_head
from voxgate.audio.containers.packets import PacketContainer

__all__ = ["OggContainer"]

_FLAC_HEAD_AT = 9
"""In the first packet of FLAC in Ogg: behind its own signature, version and number of headers."""


class OggContainer(PacketContainer):
    """A `Container`: the first stream with Opus or FLAC, in every link of a chained file."""

    label = "Ogg"
    demuxer = OggDemuxer

    def open_stream(self, event: Any) -> OpusStream | FlacStream:
        _, codec, packet = event
        if codec == "flac":
            return FlacStream(packet[_FLAC_HEAD_AT:])
        return OpusStream(parse_opus_head(packet), self._sample_rate)
