"""From jobs that wait to a padded batch: BatchQueue beside queue.SimpleQueue and NumPy.

The plain way is what one writes first: get one, get what else is there, a zeroed array, a row at a time. It bounds
nothing, is fair to nobody, and cannot take a job back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from voxgate._native.batch import BatchQueue

MAX_ITEMS = 16
SECOND = 16_000
SIZES = {"100 ms": (0.1, 0.1), "1-3 s": (1.0, 3.0)}

Put = Callable[[Any, np.ndarray, Any], None]
Take = Callable[[], tuple[list[Any], np.ndarray, np.ndarray] | None]


def voxgate_queue() -> tuple[Put, Take, Callable[[int], object]]:
    q: BatchQueue[Any] = BatchQueue(100_000, 1 << 40)
    return q.put, lambda: q.take(MAX_ITEMS), lambda n_takers: q.close()


def plain_queue() -> tuple[Put, Take, Callable[[int], object]]:
    q: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(job: Any, audio: np.ndarray, stream: Any) -> None:
        q.put((job, audio))

    def take() -> Any:
        items = [q.get()]
        while len(items) < MAX_ITEMS:
            try:
                items.append(q.get_nowait())
            except queue.Empty:
                break
        if None in items:
            for _ in range(items.count(None) - 1):
                q.put(None)
            return None
        lengths = np.array([len(audio) for _, audio in items], np.int64)
        batch = np.zeros((len(items), int(lengths.max())), np.float32)
        for row, (_, audio) in zip(batch, items, strict=True):
            row[: len(audio)] = audio
        return [job for job, _ in items], batch, lengths

    return put, take, lambda n_takers: [q.put(None) for _ in range(n_takers)]


def jobs(n_jobs: int, size: str) -> list[tuple[object, np.ndarray, object]]:
    luck = np.random.default_rng(0)
    shortest_s, longest_s = SIZES[size]
    lengths = [round(luck.uniform(shortest_s, longest_s) * SECOND) for _ in range(n_jobs)]
    return [(object(), luck.uniform(-1, 1, n).astype(np.float32), object()) for n in lengths]


def one_thread(make: Callable[[], tuple[Put, Take, Any]], n_items: int, size: str) -> Callable[[], None]:
    put, take, _ = make()
    waiting = jobs(n_items, size)

    def round_() -> None:
        for job in waiting:
            put(*job)
        work = take()
        assert work is not None
        assert len(work[0]) == n_items

    return round_


@contextmanager
def several_threads(
    make: Callable[[], tuple[Put, Take, Callable[[int], object]]], size: str
) -> Iterator[Callable[[], None]]:
    """Three workers that do nothing with their batches; a round is over when 64 jobs have reached them."""
    n_takers, waiting = 3, jobs(64, size)
    put, take, close = make()
    arrived = threading.Semaphore(0)

    def work() -> None:
        while (batch := take()) is not None:
            arrived.release(len(batch[0]))

    takers = [threading.Thread(target=work) for _ in range(n_takers)]
    for taker in takers:
        taker.start()

    def round_() -> None:
        for job in waiting:
            put(*job)
        for _ in waiting:
            arrived.acquire()

    try:
        yield round_
    finally:
        close(n_takers)
        for taker in takers:
            taker.join()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_items", [1, 4, 16])
def test_voxgate_batch(benchmark: Any, n_items: int, size: str) -> None:
    benchmark.group = f"batch of {n_items} x {size}"
    benchmark(one_thread(voxgate_queue, n_items, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_items", [1, 4, 16])
def test_simple_queue_and_numpy_batch(benchmark: Any, n_items: int, size: str) -> None:
    benchmark.group = f"batch of {n_items} x {size}"
    benchmark(one_thread(plain_queue, n_items, size))


@pytest.mark.parametrize("size", SIZES)
def test_voxgate_to_three_threads(benchmark: Any, size: str) -> None:
    benchmark.group = f"64 jobs of {size} to 3 threads"
    with several_threads(voxgate_queue, size) as round_:
        benchmark(round_)


@pytest.mark.parametrize("size", SIZES)
def test_simple_queue_and_numpy_to_three_threads(benchmark: Any, size: str) -> None:
    benchmark.group = f"64 jobs of {size} to 3 threads"
    with several_threads(plain_queue, size) as round_:
        benchmark(round_)


def test_voxgate_picks_among_thousands_of_streams(benchmark: Any) -> None:
    benchmark.group = "4096 streams wait"
    put, take, _ = voxgate_queue()
    waiting = jobs(4096, "100 ms")
    for job in waiting:
        put(*job)
    by_job = {id(job[0]): job for job in waiting}

    def round_() -> None:
        work = take()
        assert work is not None
        for job in work[0]:
            put(*by_job[id(job)])

    benchmark(round_)
