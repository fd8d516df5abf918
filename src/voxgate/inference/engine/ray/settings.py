"""The settings of the engine on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RaySettings"]


@dataclass(frozen=True, slots=True)
class RaySettings:
    """The fields are the settings of the same names; see docs/configuration.md."""

    app: str = "voxgate"
    """The Ray Serve application."""
    address: str = "auto"
    """As for `ray.init`; never `local`, which would start a cluster."""
    calls: int = 256
    """At most so many calls run at once, however many replicas there are."""
    servers: int = 1
    """That share the application: each makes its part of the calls."""
    start_timeout_s: float = 120.0
    """How long the start waits for the cluster and the application."""
    lost_after_s: float = 30.0
    """After this time without the cluster, the driver starts anew."""
    max_batch_size: int = 16
    max_batch_seconds: float = 120.0
    batch_window_s: float = 0.0
    restart_backoff_s: float = 0.1
    """Before the first restart of the driver."""
