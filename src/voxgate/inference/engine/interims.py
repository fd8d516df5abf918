"""Where the interim results of a running call go, and whether anybody still waits for its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from voxgate.inference.engine.base import Job, JobSource
from voxgate.protocol.output import Output

__all__ = ["NO_INTERIMS", "Interims", "JobInterims"]


class Interims(Protocol):
    """One model call, as what it yields sees it. On the thread that calls the model."""

    @property
    def is_needed(self) -> bool:
        """Whether anybody waits for the result of the call."""
        ...

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for interim results."""
        ...

    def send(self, output: Output) -> None: ...


class _NoInterims:
    """Of a call whose result alone is needed."""

    is_needed = True
    is_wanted = False

    def send(self, output: Output) -> None:
        raise AssertionError("nobody wants an interim result")


NO_INTERIMS: Final[Interims] = _NoInterims()


class JobInterims:
    """Of the jobs of one batch: those of a single job go to its source; a batch of several has none."""

    __slots__ = ("_jobs", "_source")

    def __init__(self, jobs: Sequence[Job], source: JobSource) -> None:
        self._jobs = jobs
        self._source = source

    @property
    def is_needed(self) -> bool:
        return any(job.is_needed for job in self._jobs)

    @property
    def is_wanted(self) -> bool:
        return len(self._jobs) == 1 and self._jobs[0].on_partial is not None

    def send(self, output: Output) -> None:
        self._source.partial(self._jobs[0], output)
