"""The settings of the section ``endpoints``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["EndpointsSettings"]


class EndpointsSettings(Struct, frozen=True, kw_only=True):
    """Which APIs the server speaks besides its own. A path of an API that is off gets HTTP 404."""

    deepgram: Annotated[
        bool, Meta(description="Deepgram's API: `/v1/listen`, live and for whole recordings; `/v2/listen`.")
    ] = True
    assemblyai: Annotated[bool, Meta(description="AssemblyAI's streaming API, version 3: `/v3/ws`.")] = True
    openai: Annotated[
        bool, Meta(description="OpenAI's transcription APIs: `/v1/realtime` and `/v1/audio/transcriptions`.")
    ] = True
    http: Annotated[bool, Meta(description="Live audio in the body of a plain HTTP request: `POST /api/v1/ROUTE`.")] = (
        True
    )
    riva: Annotated[
        bool,
        Meta(description="NVIDIA Riva's speech recognition over gRPC, on the port `grpc.port`: `nvidia.riva.asr`."),
    ] = True
    min_silence_ms: (
        Annotated[
            int,
            Meta(
                ge=50,
                le=10_000,
                description="Shortest silence, in ms, by which a client of another service's API can end a segment; a "
                "shorter one counts as this. When not set: `vad.silence_duration_ms`. Those services recognize a "
                "stream as a whole, and their clients ask for 10 to 25 ms; here each segment is one call of the model, "
                "which understands whole phrases best.",
            ),
        ]
        | None
    ) = None
