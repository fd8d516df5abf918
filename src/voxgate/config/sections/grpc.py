"""The settings of the section ``grpc``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["GrpcSettings"]


class GrpcSettings(Struct, frozen=True, kw_only=True):
    """gRPC on its own port, with the address and the TLS of the section `server`."""

    port: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=65535,
                description="TCP port for gRPC; 0 takes any free port; not set: no gRPC. Needs the extra `grpc`.",
            ),
        ]
        | None
    ) = None
    reflection: Annotated[
        bool,
        Meta(description="Serve gRPC reflection, for tools such as grpcurl."),
    ] = False
