"""WebM and Matroska with Opus or FLAC, as browsers record and FFmpeg writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from voxgate._native.webm import WebmDemuxer
from voxgate.audio.containers.base import BrokenMedia
from voxgate.audio.containers.flac_packets import FlacStream
from voxgate.audio.containers.opus import OPUS_HZ, OpusStream
from voxgate.audio.containers.opus_head import OpusHead, parse_opus_head
from voxgate.audio.containers.packets import PacketContainer

__all__ = ["WebmContainer"]

_MOST_DELAY_S = 1


class WebmContainer(PacketContainer):
    """A `Container`: the first audio track with Opus, else the first with FLAC."""

    label = "WebM"
    demuxer = WebmDemuxer

    def open_stream(self, event: Any) -> OpusStream | FlacStream:
        _, codec, private, codec_delay_ns, _, channels = event
        if codec == "flac":
            return FlacStream(private)
        if private:
            head = parse_opus_head(private)
        elif 1 <= channels <= 2:
            head = OpusHead(channels, n_coupled=channels - 1, mapping=tuple(range(channels)))
        else:
            raise BrokenMedia(f"Opus without a head has 1 or 2 channels, got {channels}")
        if not head.pre_skip and 0 < codec_delay_ns < _MOST_DELAY_S * 10**9:
            # FFmpeg 5 writes a wrong CodecDelay beside the right pre-skip; others write one of them only.
            head = replace(head, pre_skip=round(codec_delay_ns * OPUS_HZ / 10**9))
        return OpusStream(head, self._sample_rate)
