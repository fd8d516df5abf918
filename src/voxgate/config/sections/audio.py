"""The settings of the section ``audio``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["AudioSettings"]


class AudioSettings(Struct, frozen=True, kw_only=True):
    """Conversion of audio to the model's sample rate."""

    resampler: Annotated[
        Literal["polyphase", "soxr"],
        Meta(description="Resampler of a stream: `polyphase` has a low delay, `soxr` is the SoX resampler."),
    ] = "polyphase"
    soxr_quality: Annotated[
        Literal["QQ", "LQ", "MQ", "HQ", "VHQ"], Meta(description="Quality of the `soxr` resampler.")
    ] = "HQ"
