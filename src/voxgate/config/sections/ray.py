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
            description="The cluster: `auto` for that of the Ray node on this machine (or `RAY_ADDRESS`), `HOST:PORT`, "
            "or `ray://HOST:PORT` for a cluster without a node here, over which models yield no interim results.",
        ),
    ] = "auto"
    calls: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Most calls of this server that run at once, each with a thread; fewer while the replicas take "
            "fewer.",
        ),
    ] = 256
    servers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="How many servers share the application. Each makes its part of the calls that the replicas "
            "take together (at least one), so that calls wait in the servers, where they form batches, and not in Ray.",
        ),
    ] = 1
    start_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="How long the start waits for the cluster, the application and its first replica, in seconds.",
        ),
    ] = 120.0
    lost_after_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="When the cluster has not answered for so long, in seconds, the server gives its connection up "
            "and connects anew until it succeeds.",
        ),
    ] = 30.0
