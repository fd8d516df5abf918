"""How long the model keeps a stream waiting: the measure by which new streams are let in or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from voxgate.inference.engine.base import Job, StreamLoad

__all__ = ["QueueDelay"]

RECENT_S: Final = 2.0
"""Calls taken longer ago than this say nothing about now."""

SAMPLES: Final = 256
"""At most so many calls are looked at."""

QUANTILE: Final = 0.9

GOOD_FOR_S: Final = 0.02
"""So long an answer is kept: a thousand refusals a second cost no more than fifty."""


class QueueDelay:
    """Waits of finals at the head of their stream.

    What a stream waits for its own calls says nothing about the server: somebody who sends a whole file has always
    calls waiting, and is no reason to turn others away. So a call's wait is only looked at while its stream has no
    call running, and begins when it was submitted or when the last of them ended, whichever is later.

    Two things are looked at: the waits of calls that were taken lately, and how long those which are still there have
    waited by now. The second shows at once when the model is stuck, and nothing is taken any more.
    """

    def __init__(self) -> None:
        self._loads: dict[object, StreamLoad] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=SAMPLES)  # when taken, after which wait
        self._measured_s = float("-inf")
        self._wait_s = 0.0

    def accepted(self, job: Job) -> None:
        """On the loop's thread, before any worker can have the job."""
        load = self._loads.get(job.stream)
        if load is None:
            load = self._loads[job.stream] = StreamLoad()
        load.n_owed += 1
        job.load = load

    def over(self, job: Job) -> None:
        """On the loop's thread, once for each that was accepted: it is answered, cancelled, or was refused."""
        load = job.load
        if load is not None:
            load.n_owed -= 1
            if not load.n_owed:
                del self._loads[job.stream]

    def taken(self, jobs: Sequence[Job], now_s: float) -> None:
        """On any thread, under a lock."""
        for job in jobs:
            load = job.load
            if load is None:
                continue
            if job.final and not load.n_running:
                self._recent.append((now_s, now_s - max(job.submitted_s, load.free_s)))
            load.n_running += 1

    def returned(self, jobs: Sequence[Job], now_s: float) -> None:
        """What `taken` was told has come back from its worker. On any thread, under the same lock."""
        for job in jobs:
            load = job.load
            if load is not None:
                load.n_running = max(0, load.n_running - 1)
                load.free_s = now_s

    def recent(self) -> list[tuple[float, float]]:
        """A snapshot; under the same lock."""
        return list(self._recent)

    def known(self, now_s: float) -> float | None:
        """What was measured just now; None: it is to be measured again."""
        return self._wait_s if now_s < self._measured_s + GOOD_FOR_S else None

    def measure(self, recent: Iterable[tuple[float, float]], owed: Iterable[Job], now_s: float) -> float:
        """`owed`: all jobs that are accepted and not over."""
        waits_s = sorted(wait_s for taken_s, wait_s in recent if taken_s >= now_s - RECENT_S)
        wait_s = waits_s[int(QUANTILE * len(waits_s))] if waits_s else 0.0
        for job in owed:
            load = job.load
            if job.final and not job.taken_s and load is not None and not load.n_running:
                wait_s = max(wait_s, now_s - max(job.submitted_s, load.free_s))
        self._measured_s, self._wait_s = now_s, wait_s
        return wait_s
