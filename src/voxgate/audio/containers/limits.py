"""The limits of compressed audio."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.audio.containers.work import PARTS_PER_S

__all__ = ["MediaLimits"]


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Those of the settings below ``media``, which describe them."""

    processes: int = 2
    streams: int = 64
    decoded_s: float = 86_400.0
    header_bytes: int = 16 * 1024 * 1024
    parts_per_s: int = PARTS_PER_S
    spool_bytes: int = 256 * 1024 * 1024
    tracks: int = 16
    idle_s: float = 60.0
    timeout_s: float = 10.0
