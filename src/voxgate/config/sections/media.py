"""The settings of the section ``media``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["MediaSettings"]


class MediaSettings(Struct, frozen=True, kw_only=True):
    """Compressed audio. WebM, Ogg, FLAC and WAV are decoded in the server's process; MP3, MP4, AAC and rare codecs in
    decoder processes, which need the extra `media`.
    """

    processes: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Decoder processes, started on demand; 0: MP3, MP4 and AAC are refused.",
        ),
    ] = 2
    streams: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Concurrent streams of all decoder processes.",
        ),
    ] = 64
    decoded_s: Annotated[
        float,
        Meta(
            ge=1,
            le=31_536_000,
            description="Decoded audio of one container, in seconds.",
        ),
    ] = 86_400.0
    header_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=2**30,
            description="Bytes of a container before its first audio.",
        ),
    ] = 16_777_216
    parts_per_s: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Elements, pages, packets and joined streams of a container for each second of its "
            "audio, and for 10 seconds more.",
        ),
    ] = 10_000
    spool_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=2**40,
            description="Largest MP4 file with its index at the end, in bytes, which waits in a temporary file.",
        ),
    ] = 268_435_456
    tracks: Annotated[int, Meta(ge=1, le=1000, description="Tracks of one container, of any kind.")] = 16
    idle_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Time after which a decoder process without streams ends, in seconds. A new start takes "
            "half a second.",
        ),
    ] = 60.0
    timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=600,
            description="Time for decoding at most a second of audio, in seconds; then the process is killed.",
        ),
    ] = 10.0
