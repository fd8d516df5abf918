"""Decodes Opus by PyAV's codec context, where there is no libopus to be called directly."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from voxgate.audio.containers.opus_head import OpusHead

__all__ = ["AvOpusDecoder"]


class AvOpusDecoder:
    """Decodes the packets of one stream to interleaved float32 at ``rate``, 48000 Hz, channels in the order of WAV.

    FFmpeg offers no concealment of lost packets: a gap is silence. Threads: one caller at a time.
    """

    conceals = False

    def __init__(self, head: OpusHead) -> None:
        """Raises ImportError without PyAV."""
        import av
        import av.error

        self.rate = 48_000
        self._channels = head.channels
        self._packet, self._error = av.Packet, av.error.FFmpegError
        # Without pre-skip and gain, which are applied by the caller, so that they are the same with each decoder.
        family = b"\0" if head.is_simple else bytes([1, head.n_streams, head.n_coupled, *head.mapping])
        self._context: Any = av.CodecContext.create("opus", "r")
        self._context.extradata = struct.pack("<8sBBHIh", b"OpusHead", 1, head.channels, 0, 48_000, 0) + family
        self._context.thread_count = 1

    def decode(self, packet: bytes) -> bytes | None:
        """The samples of a packet; None: it is damaged."""
        try:
            frames = self._context.decode(self._packet(packet))
        except self._error:
            return None
        if not frames:
            return None
        if self._channels == 1:
            return b"".join(bytes(frame.planes[0])[: 4 * frame.samples] for frame in frames)
        return b"".join(np.ascontiguousarray(frame.to_ndarray().T, np.float32).tobytes() for frame in frames)

    def conceal(self, n_frames: int) -> bytes:
        """Silence."""
        return bytes(4 * n_frames * self._channels)
