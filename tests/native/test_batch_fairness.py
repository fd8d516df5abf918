"""Streams get equal service from a `BatchQueue`, on a clock of the tests' own."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.batch_queue import Job, noise, queue, taken

SECOND = 16_000


class Server:
    """`n_workers` that take batches from a queue; time is simulated. A batch takes 0.05 s and 0.01 s an item."""

    def __init__(self, q: Any, n_workers: int, max_items: int) -> None:
        self.q, self.max_items = q, max_items
        self.now_s = 0.0
        self.idle = n_workers
        self.running: list[tuple[float, list[Any]]] = []

    def work(self, until_s: float, done: Callable[[float, Any], None]) -> None:
        """Everything that happens before `until_s`. `done` may put more."""
        while True:
            while self.idle and len(self.q):
                jobs = taken(self.q, self.max_items)
                self.idle -= 1
                self.running.append((self.now_s + 0.05 + 0.01 * len(jobs), jobs))
            self.running.sort(key=lambda item: item[0])
            if not self.running or self.running[0][0] > until_s:
                self.now_s = until_s
                return
            self.now_s, jobs = self.running.pop(0)
            self.idle += 1
            for job in jobs:
                done(self.now_s, job)


def jain(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


@pytest.mark.parametrize(("n_workers", "max_items"), [(1, 1), (1, 16), (3, 8)])
@pytest.mark.parametrize("lengths_s", [[1.0], [0.5, 1.0, 4.0]])
@pytest.mark.parametrize("n_waiting", [2, 10])
def test_equal_streams_get_equal_service_at_saturation(
    n_workers: int, max_items: int, lengths_s: list[float], n_waiting: int
) -> None:
    """Whatever lengths of jobs a stream has, and however many of them it keeps waiting beside those which run."""
    q, n_streams = queue(), 24
    audios = [noise(round(lengths_s[i % len(lengths_s)] * SECOND)) for i in range(n_streams)]
    served_s = [0.0] * n_streams

    def submit(stream: int) -> None:
        q.put(Job(stream), audios[stream], stream)

    def done(_: float, job: Job) -> None:
        served_s[job.name] += len(audios[job.name]) / SECOND
        submit(job.name)

    for stream in range(n_streams):
        for _ in range(n_workers * max_items + n_waiting * (1 + stream % 3)):
            submit(stream)
    Server(q, n_workers, max_items).work(200.0, done)
    assert sum(served_s) > 24 * 100
    assert jain(served_s) >= 0.98


class Fifo:
    """What most servers have."""

    def __init__(self) -> None:
        self.jobs: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self.jobs)

    def put(self, job: Any, audio: np.ndarray, stream: Any) -> None:
        self.jobs.append(job)

    def take(self, max_items: int) -> Any:
        return [self.jobs.popleft() for _ in range(min(max_items, len(self.jobs)))], None, None


def p99_of_the_others(q: Any, factor: int, n_workers: int, max_items: int, load: float) -> float:
    """Streams that speak for a second every now and then, with one among them that does so `factor` times as often."""
    n_streams, length_s, seconds = 40, 1.0, 150.0
    capacity = n_workers * max_items / (0.05 + 0.01 * max_items)
    pause_s = n_streams / (load * capacity)
    chance = random.Random(7)
    arrivals = []
    for stream in range(n_streams):
        mine = random.Random(stream)
        at_s = mine.uniform(0, pause_s)
        while at_s < seconds:
            arrivals.append((at_s, stream))
            at_s += mine.uniform(0.5, 1.5) * pause_s
    arrivals += [(chance.uniform(0, seconds), 0) for _ in range(round((factor - 1) * seconds / pause_s))]
    waits_s: list[float] = []
    server, audio = Server(q, n_workers, max_items), noise(round(length_s * SECOND))

    def done(now_s: float, job: Job) -> None:
        at_s, stream = job.name
        if stream:
            waits_s.append(now_s - at_s)

    for at_s, stream in sorted(arrivals):
        server.work(at_s, done)
        q.put(Job((at_s, stream)), audio, stream)
    server.work(seconds * 3, done)
    return float(np.percentile(waits_s, 99))


@pytest.mark.parametrize(
    ("n_workers", "max_items", "load"), [(1, 1, 1.02), (1, 16, 1.02), (2, 1, 1.02), (4, 4, 0.9), (8, 8, 0.95)]
)
def test_a_stream_that_sends_ten_times_as_much_does_not_delay_the_others(
    n_workers: int, max_items: int, load: float
) -> None:
    """What remains is that more workers are in a call when one of the others comes; a call is not interrupted."""
    alone_s = p99_of_the_others(queue(), 1, n_workers, max_items, load)
    beside_s = p99_of_the_others(queue(), 10, n_workers, max_items, load)
    assert beside_s < 1.1 * alone_s
    # The same through a plain queue, so that it is known that this test can tell.
    assert p99_of_the_others(Fifo(), 10, n_workers, max_items, load) > 2 * alone_s
