"""The settings of the engine of worker processes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxgate.errors import ConfigError
from voxgate.inference.engine.base import BatchLimits
from voxgate.inference.engine.processes.arena import SAMPLE_BYTES
from voxgate.models.base import Model
from voxgate.runtime.cpus import usable_cpus

__all__ = ["ProcessSettings"]

_MAX_PROCESSES = 1024
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Raises ConfigError for numbers out of range."""

    spec: str
    """As for `load_model`, like `options`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 0
    """1..1024; 0 = one per CPU that this process may use."""
    max_batch_size: int = 16
    max_batch_seconds: float = 120.0
    batch_window_s: float = 0.0
    longest_job_s: float = 300.0
    """The longest audio of one call; longer ones are refused."""
    deadline_s: float = 60.0
    """Of a trial call."""
    restart_backoff_s: float = 0.1
    """Before the first restart of a worker."""
    start_timeout_s: float = 600.0
    """For loading the model, and again for warming it up."""
    warm_up: bool = True
    start_anyway: bool = False
    """Also when the results of the trial calls cannot be sent."""

    def __post_init__(self) -> None:
        if not 0 <= self.processes <= _MAX_PROCESSES:
            raise ConfigError(f"inference.processes must be within 0..{_MAX_PROCESSES}, not {self.processes}")
        if self.max_batch_size < 1:
            raise ConfigError(f"inference.max_batch_size must be at least 1, not {self.max_batch_size}")

    @property
    def concurrency(self) -> int:
        return self.processes or usable_cpus()

    def limits(self, model: Model) -> BatchLimits:
        max_items = self.max_batch_size if model.batches else 1
        return BatchLimits(max_items, self.max_batch_seconds, self.batch_window_s)

    def arena_bytes(self, sample_rate: int) -> int:
        """The size of an arena that holds the largest batch and the longest job."""
        longest_s = max(self.max_batch_seconds, self.longest_job_s)
        return (math.ceil(longest_s * sample_rate) + 1) * SAMPLE_BYTES

    def environment(self) -> dict[str, str]:
        """The environment of a worker process: that of the server, plus, unless it is set there, a fair share of the
        CPUs for numeric libraries, which would otherwise start a thread per CPU in every worker.
        """
        share = str(max(1, usable_cpus() // self.concurrency))
        return {**dict.fromkeys(_THREAD_COUNTS, share), **os.environ}
