"""The settings of the section ``endpoints``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["EndpointsSettings"]


class EndpointsSettings(Struct, frozen=True, kw_only=True):
    """The APIs of other services. The paths of an API that is off answer with HTTP 404."""

    deepgram: Annotated[bool, Meta(description="Deepgram: `/v1/listen` (live and recordings) and `/v2/listen`.")] = True
    assemblyai: Annotated[bool, Meta(description="AssemblyAI streaming v3: `/v3/ws`.")] = True
    openai: Annotated[
        bool, Meta(description="OpenAI: `/v1/realtime`, `/v1/audio/transcriptions` and `/v1/models`.")
    ] = True
    http: Annotated[bool, Meta(description="Live audio over plain HTTP: `POST /api/v1/ROUTE`.")] = True
    riva: Annotated[
        bool,
        Meta(description="NVIDIA Riva: `nvidia.riva.asr` on `grpc.port`."),
    ] = True
    min_silence_ms: (
        Annotated[
            int,
            Meta(
                ge=50,
                le=10_000,
                description="Shortest silence by which clients of these APIs can end a segment, in ms; a shorter one "
                "counts as this. Not set: `vad.silence_duration_ms`.",
            ),
        ]
        | None
    ) = None
