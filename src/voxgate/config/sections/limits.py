"""The settings of the section ``limits``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voxgate.protocol.formats import MAX_RATE, MIN_RATE

__all__ = ["LimitsSettings"]


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """Limits of clients, streams, messages and waiting audio."""

    streams: Annotated[int, Meta(ge=1, le=1_000_000, description="Concurrent connections.")] = 1024
    streams_per_address: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Concurrent connections of one address.")
    ] = 256
    streams_per_token: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Concurrent connections of one token, or of one client that the hook names; "
                "`auth.tokens` may set others.",
            ),
        ]
        | None
    ) = None
    scope: Annotated[
        Literal["process", "host"],
        Meta(
            description="Whether `streams`, `streams_per_address` and `streams_per_token` apply to each server "
            "process, or to all of `server.workers` together."
        ),
    ] = "process"
    redis_url: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="A Redis that counts `streams_per_address` and `streams_per_token` over several servers: "
                "`redis://HOST:PORT/DB`, `rediss://` or `unix://`. Needs the extra `redis`.",
                extra={"is_secret": True},
            ),
        ]
        | None
    ) = None
    redis_fails: Annotated[
        Literal["open", "closed"],
        Meta(
            description="When Redis does not answer within half a second: accept new streams (`open`), or refuse "
            "them with HTTP 503 (`closed`, needs `redis_url`)."
        ),
    ] = "open"
    queue_wait_s: Annotated[
        float,
        Meta(
            ge=0.01,
            le=3600,
            description="Wait of calls for the model beyond which new streams are refused, in seconds. From half "
            "of it on, the server admits only as many streams as the model has sustained.",
        ),
    ] = 1.0
    total_buffered_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of all streams that may wait for the model, in seconds.",
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
        Meta(ge=1024, le=268_435_456, description="Largest message of a client, in bytes."),
    ] = 1_048_576
    recording_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=268_435_456,
            description="Largest recording for Riva's `Recognize`, in bytes. With `endpoints.riva`, it limits "
            "all gRPC messages if it exceeds `message_bytes`.",
        ),
    ] = 16_777_216
    message_fragments: Annotated[int, Meta(ge=1, le=1_000_000, description="Websocket frames of one message.")] = 1024
    frames_per_second: Annotated[
        int,
        Meta(
            ge=10,
            le=10_000_000,
            description="Websocket frames that the server reads from one connection in a second, pings included.",
        ),
    ] = 5000
    handshake_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Time from connecting to a complete request, in seconds.",
        ),
    ] = 10.0
    message_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Time from the first to the last byte of a message, in seconds.",
        ),
    ] = 20.0
    start_timeout_s: Annotated[
        float, Meta(ge=0.1, le=86_400, description="Time from connecting to the first `start`, in seconds.")
    ] = 10.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=86_400,
            description="Time without a message of the client, in seconds.",
        ),
    ] = 60.0
    session_s: Annotated[
        float,
        Meta(
            ge=1,
            le=31_536_000,
            description="Longest connection, in seconds.",
        ),
    ] = 86_400.0
    invalid_messages: Annotated[int, Meta(ge=1, le=1_000_000, description="Invalid messages of one connection.")] = 8
    buffered_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Audio of one stream that may wait for the model, in seconds.",
        ),
    ] = 30.0
    segment_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=100_000,
            description="Audio in the open segments of one stream, over all channels, in seconds (at most 64 KB "
            "each at 16 kHz). `vad.max_segment_s` is at most this, divided by the channels.",
        ),
    ] = 300.0
    unsent_events: Annotated[
        int,
        Meta(
            ge=2,
            le=1_000_000,
            description="Events that may wait for a slow client.",
        ),
    ] = 256
    unsent_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**30,
            description="Bytes of events that may wait for a slow client.",
        ),
    ] = 1_048_576
    upload_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**40,
            description="Largest request with a whole file, in bytes.",
        ),
    ] = 536_870_912
    upload_field_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=16_777_216,
            description="Bytes of the fields beside the file of an upload, with their headers.",
        ),
    ] = 65_536
    upload_spool_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=2**50,
            description="Bytes of all uploads that may wait in the temporary folder for fields behind their file.",
        ),
    ] = 4_294_967_296
