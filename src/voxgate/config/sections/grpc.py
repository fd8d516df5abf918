"""The settings of the section ``grpc``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["GrpcSettings"]


class GrpcSettings(Struct, frozen=True, kw_only=True):
    """The gRPC API, on a port of its own, at the address and with the TLS of the section `server`."""

    port: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=65535,
                description="TCP port for gRPC; 0 takes any free port. When not set, the server speaks no gRPC. Needs "
                "the extra `grpc`.",
            ),
        ]
        | None
    ) = None
    reflection: Annotated[
        bool,
        Meta(description="Serve gRPC reflection, by which tools such as grpcurl learn the methods and their messages."),
    ] = False
