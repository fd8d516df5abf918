"""The settings of the section ``limits``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voxgate.protocol.formats import MAX_RATE, MIN_RATE

__all__ = ["LimitsSettings"]


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """Limits of clients, streams, messages and waiting audio."""

    streams: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Concurrent connections; further ones get HTTP 503.")
    ] = 1024
    streams_per_address: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Concurrent connections from one address; further ones get HTTP 429.")
    ] = 256
    streams_per_token: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Concurrent connections with one valid token, or of one client by the name that the hook "
                "gives it; further ones get HTTP 429. `auth.tokens` may set other limits for single tokens.",
            ),
        ]
        | None
    ) = None
    scope: Annotated[
        Literal["process", "host"],
        Meta(
            description="Whether `streams`, `streams_per_address` and `streams_per_token` hold for each server "
            "process, or for all processes of `server.workers` together."
        ),
    ] = "process"
    redis_url: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="A Redis that counts streams over all servers that use it, for `streams_per_address` and "
                "`streams_per_token`: `redis://HOST:PORT/DB`, `rediss://` or `unix://`. Needs the extra `redis`.",
                extra={"is_secret": True},
            ),
        ]
        | None
    ) = None
    redis_fails: Annotated[
        Literal["open", "closed"],
        Meta(
            description="When Redis gives no answer within half a second: accept new streams and count them later "
            "(`open`), or refuse them with HTTP 503 (`closed`, which needs `redis_url`)."
        ),
    ] = "open"
    queue_wait_s: Annotated[
        float,
        Meta(
            ge=0.01,
            le=3600,
            description="When calls wait longer than this for the model, in seconds, new streams get HTTP 503. From "
            "half of it on, the server admits no more streams than the model has proved to sustain.",
        ),
    ] = 1.0
    total_buffered_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of all streams that may wait for the model, in seconds. Beyond it, new streams get "
            "HTTP 503, and the server stops reading from streams that exceed their share.",
        ),
    ] = 3600.0
    channels: Annotated[int, Meta(ge=1, le=64, description="Channels of one stream.")] = 8
    min_sample_rate: Annotated[
        int, Meta(ge=MIN_RATE, le=MAX_RATE, description="Lowest sample rate of a stream, in Hz.")
    ] = MIN_RATE
    max_sample_rate: Annotated[
        int, Meta(ge=MIN_RATE, le=MAX_RATE, description="Highest sample rate of a stream, in Hz.")
    ] = MAX_RATE
    message_bytes: Annotated[
        int,
        Meta(
            ge=1024, le=268_435_456, description="Largest message of a client, in bytes; a larger one closes with 1009."
        ),
    ] = 1_048_576
    recording_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=268_435_456,
            description="Largest recording in a call of Riva's `Recognize`, in bytes. gRPC knows one limit for the "
            "messages of all methods: with `endpoints.riva`, it is this, if it is more than `message_bytes`.",
        ),
    ] = 16_777_216
    message_fragments: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Websocket frames of one message; more close with 1009.")
    ] = 1024
    frames_per_second: Annotated[
        int,
        Meta(
            ge=10,
            le=10_000_000,
            description="Websocket frames per second that the server reads from one connection, pings included; a "
            "client that sends more is slowed down.",
        ),
    ] = 5000
    handshake_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Time from connecting until the request is complete, in seconds; then the server disconnects.",
        ),
    ] = 10.0
    message_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Time from the first to the last byte of one message, in seconds; then the connection closes "
            "with 1008.",
        ),
    ] = 20.0
    start_timeout_s: Annotated[
        float, Meta(ge=0.1, le=86_400, description="Time from connecting until the first `start`, in seconds.")
    ] = 10.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=86_400,
            description="Time without any message of the client until its connection closes, in seconds.",
        ),
    ] = 60.0
    session_s: Annotated[
        float,
        Meta(
            ge=1,
            le=31_536_000,
            description="Longest connection, in seconds; then the server sends its results and closes it with 1008.",
        ),
    ] = 86_400.0
    invalid_messages: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Invalid messages of one connection until it is closed with 1008.")
    ] = 8
    buffered_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Audio of one stream that may wait for the model, in seconds; then reading pauses.",
        ),
    ] = 30.0
    segment_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=100_000,
            description="Audio that the open segments of one stream may hold, all channels together, in seconds (64 "
            "KB each at 16 kHz): `vad.max_segment_s` is at most this, divided by the channels.",
        ),
    ] = 300.0
    unsent_events: Annotated[
        int,
        Meta(
            ge=2,
            le=1_000_000,
            description="Events that may wait for a client that does not read them; then reading from it and its "
            "calls pause.",
        ),
    ] = 256
    unsent_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**30,
            description="Bytes of events that may wait for a client that does not read them; then reading from it and "
            "its calls pause.",
        ),
    ] = 1_048_576
    upload_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**40,
            description="Largest request with a whole file (`/v1/audio/transcriptions`, `/v1/listen`), in bytes; a "
            "larger one gets HTTP 413. `media.decoded_s` bounds its audio.",
        ),
    ] = 536_870_912
    upload_field_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=16_777_216,
            description="Bytes of the fields beside the file in one upload, with their headers; more get HTTP 413.",
        ),
    ] = 65_536
    upload_spool_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=2**50,
            description="Bytes that all uploads together may have on the disk, in the system's temporary folder, while "
            "they wait for the fields behind their file; an upload beyond it gets HTTP 503.",
        ),
    ] = 4_294_967_296
