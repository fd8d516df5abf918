"""The settings of the section ``simple``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["SimpleSettings"]


class SimpleSettings(Struct, frozen=True, kw_only=True):
    """The size of the model's calls on the simple and the stateful route."""

    min_chunk_ms: Annotated[
        int, Meta(ge=0, le=60_000, description="Shortest audio of a call, in ms; the last one may be shorter.")
    ] = 100
    max_chunk_s: Annotated[float, Meta(ge=0.1, le=3600, description="Longest audio of a call, in seconds.")] = 30.0
