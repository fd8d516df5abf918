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
            description="Decoder processes, started when they are needed; each decodes several streams. 0: none, and "
            "MP3, MP4 and AAC are refused.",
        ),
    ] = 2
    streams: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Streams that decoder processes decode at the same time; further ones get the error "
            "`overloaded`.",
        ),
    ] = 64
    decoded_s: Annotated[
        float,
        Meta(
            ge=1,
            le=31_536_000,
            description="Audio that one container may hold, decoded, in seconds; then the session ends with the error "
            "`media_limit`.",
        ),
    ] = 86_400.0
    header_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            le=2**30,
            description="Bytes of a container before its first audio; a longer header is the error `media_limit`.",
        ),
    ] = 16_777_216
    parts_per_s: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Parts of a container (elements, pages, packets, joined streams) for each second of its audio, "
            "and for 10 seconds more; a container with more is the error `media_limit`.",
        ),
    ] = 10_000
    spool_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=2**40,
            description="Largest MP4 file with its index at the end, in bytes: it waits in a temporary file until it "
            "is complete. A larger one is the error `media_limit`.",
        ),
    ] = 268_435_456
    tracks: Annotated[
        int, Meta(ge=1, le=1000, description="Tracks of one container, of any kind; more are the error `media_limit`.")
    ] = 16
    idle_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Time after which a decoder process without streams ends, in seconds; the next stream that "
            "needs one starts it again, which takes about half a second.",
        ),
    ] = 60.0
    timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=600,
            description="Time that a decoder process may take for at most a second of audio, in seconds; then it "
            "counts as hung and is killed, and its streams get the error `decoder_failed`.",
        ),
    ] = 10.0
