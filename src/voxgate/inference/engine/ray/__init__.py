"""The engine of a model on a Ray cluster.

The model is a Ray Serve deployment (:mod:`.app`, :mod:`.replica`) that any number of servers call. Each server has a
driver process (:mod:`.driver`, :mod:`.cluster`), which belongs to the cluster, and a thread for each call that it makes
(:mod:`.engine`). The server itself imports no Ray: it survives the end of its driver (:mod:`.link`).
"""

from __future__ import annotations

from voxgate.inference.engine.ray.engine import RayEngine
from voxgate.inference.engine.ray.settings import RaySettings

__all__ = ["RayEngine", "RaySettings"]
