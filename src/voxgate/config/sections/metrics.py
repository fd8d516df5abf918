"""The settings of the section ``metrics``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["MetricsSettings"]


class MetricsSettings(Struct, frozen=True, kw_only=True):
    """The metrics for Prometheus."""

    port: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=65535,
                description="Separate port for `/metrics`; 0 takes any free port; not set: the server's port.",
            ),
        ]
        | None
    ) = None
    max_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Time for which an answer of `/metrics` is reused, in seconds; 0: never.",
        ),
    ] = 1.0
