"""A `BatchQueue`, and jobs for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from voxgate._native.batch import BatchQueue


class Job:
    """Nothing but an identity that can be looked after."""

    def __init__(self, name: Any = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Job({self.name!r})"


def queue(max_jobs: int = 100_000, max_samples: int = 1 << 40, **bounds: int) -> BatchQueue:
    return BatchQueue(max_jobs, max_samples, **bounds)


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, n_samples).astype(np.float32)


def put(q: BatchQueue, n_jobs: int = 1, n_samples: int = 8, stream: Any = None, **arguments: Any) -> list[Job]:
    jobs = [Job(i) for i in range(n_jobs)]
    for i, job in enumerate(jobs):
        q.put(job, noise(n_samples, i), stream, **arguments)
    return jobs


def taken(q: BatchQueue, max_items: int = 1, *arguments: Any) -> list[Any]:
    work = q.take(max_items, *arguments)
    assert work is not None
    return work[0]


def in_thread(target: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(target()), daemon=True)
    thread.start()
    return thread, results
