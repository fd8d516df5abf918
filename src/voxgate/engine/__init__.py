"""Where models run: the seam (:mod:`.base`) and what stands behind it (:mod:`.threads`)."""

from __future__ import annotations

from voxgate.engine.base import Engine, Job, JobSource, Outcome
from voxgate.engine.threads import ThreadEngine

__all__ = ["Engine", "Job", "JobSource", "Outcome", "ThreadEngine"]
