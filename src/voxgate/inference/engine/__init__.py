"""Where models run: the seam (:mod:`.base`) and its implementations (:mod:`.threads`, :mod:`.processes`)."""

from __future__ import annotations

from voxgate.inference.engine.base import BatchLimits, Engine, EngineCounts, Job, JobOutcome, JobSource, State, Work
from voxgate.inference.engine.threads import ThreadEngine

__all__ = [
    "BatchLimits",
    "Engine",
    "EngineCounts",
    "Job",
    "JobOutcome",
    "JobSource",
    "State",
    "ThreadEngine",
    "Work",
]
