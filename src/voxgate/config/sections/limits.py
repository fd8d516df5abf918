"""The settings of the section ``limits``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voxgate.protocol.formats import MAX_RATE, MIN_RATE

__all__ = ["LimitsSettings"]


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """Limits of clients, streams, messages and waiting audio."""

    streams: Annotated[int, Meta(ge=1, le=1_000_000, description="Concurrent connections; beyond: HTTP 503.")] = 1024
    streams_per_address: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Concurrent connections of one address; beyond: HTTP 429.")
    ] = 256
    streams_per_token: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                description="Concurrent connections of one token, or of one client that the hook names; beyond: HTTP "
                "429. `auth.tokens` may set others.",
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
            description="Wait of calls for the model beyond which new streams get HTTP 503, in seconds. From "
            "half of it on, the server admits only as many streams as the model has sustained.",
        ),
    ] = 1.0
    total_buffered_audio_s: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of all streams that may wait for the model, in seconds. Beyond: HTTP 503 for new "
            "streams, and streams above their share are held back.",
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
        Meta(ge=1024, le=268_435_456, description="Largest message of a client, in bytes; beyond: close 1009."),
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
    message_fragments: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Websocket frames of one message; beyond: close 1009.")
    ] = 1024
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
            description="Time from connecting to a complete request, in seconds; then the server disconnects.",
        ),
    ] = 10.0
    message_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Time from the first to the last byte of a message, in seconds; then close 1008.",
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
            description="Time without a message of the client, in seconds; then the connection closes.",
        ),
    ] = 60.0
    session_s: Annotated[
        float,
        Meta(
            ge=1,
            le=31_536_000,
            description="Longest connection, in seconds; then the server sends its results and closes with 1008.",
        ),
    ] = 86_400.0
    invalid_messages: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Invalid messages of one connection; then close 1008.")
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
            description="Audio in the open segments of one stream, over all channels, in seconds (64 KB each at "
            "16 kHz). `vad.max_segment_s` is at most this, divided by the channels.",
        ),
    ] = 300.0
    unsent_events: Annotated[
        int,
        Meta(
            ge=2,
            le=1_000_000,
            description="Events that may wait for a slow client; then reading and its calls pause.",
        ),
    ] = 256
    unsent_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**30,
            description="Bytes of events that may wait for a slow client; then reading and its calls pause.",
        ),
    ] = 1_048_576
    upload_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=2**40,
            description="Largest request with a whole file, in bytes; beyond: HTTP 413. `media.decoded_s` limits "
            "its audio.",
        ),
    ] = 536_870_912
    upload_field_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=16_777_216,
            description="Bytes of the fields beside the file of an upload, with their headers; beyond: HTTP 413.",
        ),
    ] = 65_536
    upload_spool_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=2**50,
            description="Bytes of all uploads that may wait in the temporary folder for fields behind their "
            "file; beyond: HTTP 503.",
        ),
    ] = 4_294_967_296
