"""The settings of the section ``ray``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["RaySettings"]


class RaySettings(Struct, frozen=True, kw_only=True):
    """The model on a Ray cluster, with `inference.engine = "ray"`. `model` is then a setting of `voxgate deploy`: the
    server uses the model of the application.
    """

    app: Annotated[str, Meta(min_length=1, description="The Ray Serve application, as in `voxgate deploy --app`.")] = (
        "voxgate"
    )
    address: Annotated[
        str,
        Meta(
            min_length=1,
            description="The cluster: `auto` (the Ray node on this machine, or `RAY_ADDRESS`), `HOST:PORT`, or "
            "`ray://HOST:PORT` without a node here; models then yield no interim results.",
        ),
    ] = "auto"
    calls: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Concurrent calls of this server, one thread each; fewer if the replicas take fewer.",
        ),
    ] = 256
    servers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Servers that share the application. Each makes its part of the calls that the replicas "
            "take, so that calls form batches in the servers.",
        ),
    ] = 1
    start_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="Time that the start waits for cluster, application and first replica, in seconds.",
        ),
    ] = 120.0
    lost_after_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Time without an answer of the cluster after which the server connects anew, in seconds.",
        ),
    ] = 30.0
