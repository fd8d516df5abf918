"""Takers of a `BatchQueue` that wait, in many threads."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.batch_queue import Job, in_thread, put, queue, taken
from voxgate._native.batch import BatchQueue, Interrupt

WAIT_S = 60  # How long a test waits before it gives up; nothing here takes that long.


# --- interrupts ---


@pytest.mark.parametrize("window_s", [0.0, 3600.0])
def test_an_interrupt_ends_the_waiting_of_its_taker_and_of_no_other(window_s: float) -> None:
    q, mine, other = queue(), Interrupt(), Interrupt()
    if window_s:
        put(q, 1, stream="a")
        put(q, 1, stream="b")  # Company is to be expected.
        taken(q, 2)
        job = put(q, 1, stream="c")
    thread, results = in_thread(lambda: q.take(2, 0, window_s, None, mine))
    q.interrupt(other)
    assert (mine.is_set, other.is_set) == (False, True)
    q.interrupt(mine)
    thread.join(30)
    assert results == [None]
    if window_s:
        assert taken(q) == job


def test_a_set_interrupt_takes_nothing_and_leaves_it_to_others() -> None:
    q, interrupt = queue(), Interrupt()
    jobs = put(q, 2)
    interrupt.set()
    assert q.take(2, 0, 0.0, None, interrupt) is None
    assert taken(q, 2) == jobs


def test_a_job_that_comes_as_a_taker_is_interrupted_goes_to_another() -> None:
    for _ in range(200):
        q, interrupt = queue(), Interrupt()
        first, got = in_thread(lambda q=q, interrupt=interrupt: q.take(1, 0, 0.0, None, interrupt))
        second, got_by_other = in_thread(lambda q=q: q.take(1))
        third, _ = in_thread(lambda q=q, interrupt=interrupt: q.interrupt(interrupt))
        jobs = put(q)
        first.join(30)
        third.join(30)
        if got != [None]:
            q.close()
        second.join(30)
        assert [work[0] for work in got + got_by_other if work is not None] == [jobs]


# --- waiting ---


def test_a_taker_waits_without_the_gil_until_something_is_put() -> None:
    q = queue()
    thread, results = in_thread(lambda: q.take(16))
    while not thread.is_alive():
        pass
    (job,) = put(q)
    thread.join(WAIT_S)
    assert results[0][0] == [job]


def test_as_many_takers_wake_as_there_is_work_for() -> None:
    q, n = queue(), 8
    takers = [in_thread(lambda: q.take(1)) for _ in range(n)]
    jobs = put(q, n)
    for thread, _ in takers:
        thread.join(WAIT_S)
    assert {results[0][0][0] for _, results in takers} == set(jobs)


WINDOW_S = 1000.0


def test_a_window_ends_when_the_batch_is_full() -> None:
    q = queue()
    jobs = [*put(q, stream="a"), *put(q, stream="b")]  # Two streams: there is company.
    thread, results = in_thread(lambda: q.take(4, 0, WINDOW_S))
    jobs += put(q, stream="a")
    thread.join(0.05)
    assert thread.is_alive()
    jobs += put(q, stream="b")
    thread.join(WAIT_S)
    assert sorted(map(id, results[0][0])) == sorted(map(id, jobs))


def test_what_a_window_leaves_over_is_for_the_next_taker() -> None:
    q = queue()
    for stream in "ab":
        put(q, stream=stream)
        taken(q)
    takers = [in_thread(lambda: q.take(4, 0, WINDOW_S)) for _ in range(2)]
    jobs = put(q, stream="a")
    takers[0][0].join(0.05)  # Now one of them is in its window, and the other waits for work.
    for _ in range(7):
        jobs += put(q, stream=len(jobs))
    for thread, _ in takers:
        thread.join(WAIT_S)
    assert sorted(id(job) for _, results in takers for job in results[0][0]) == sorted(map(id, jobs))


def test_a_window_ends_when_there_is_audio_enough() -> None:
    q = queue()
    put(q, 1, 10, "a")
    put(q, 1, 10, "b")
    thread, results = in_thread(lambda: q.take(16, 60, WINDOW_S))
    put(q, 1, 40, "a")
    put(q, 1, 10, "b")
    thread.join(WAIT_S)
    assert len(results[0][0]) >= 1


def test_a_window_ends_in_time_with_what_is_there() -> None:
    q = queue()
    put(q, stream="a")
    (other,) = put(q, stream="b")
    assert len(taken(q, 16, 0, 0.001)) == 2
    assert not q.cancel(other)


def test_a_lone_stream_never_waits_for_company() -> None:
    q = queue()
    for _ in range(3):
        put(q, 2, stream="a")
        assert len(taken(q, 16, 0, WINDOW_S)) == 2


def test_company_is_not_waited_for_for_ever() -> None:
    """The last other stream has gone: after eight jobs the one which is left is known to be alone."""
    q = queue()
    put(q, stream="gone")
    taken(q)
    put(q, 9, stream="stays")
    assert len(taken(q, 16, 0, WINDOW_S)) == 9


def test_a_job_that_is_to_be_alone_does_not_wait() -> None:
    q = queue()
    put(q, stream="a")
    taken(q)
    put(q, stream="b", alone=True)
    assert len(taken(q, 16, 0, WINDOW_S)) == 1
    put(q, stream="a")
    thread, results = in_thread(lambda: q.take(16, 0, WINDOW_S))
    put(q, stream="b", alone=True)
    thread.join(WAIT_S)
    assert len(results[0][0]) == 1


# --- threads ---


def test_nothing_is_lost_and_nothing_comes_twice_under_fire() -> None:
    slow = 4 if os.environ.get("VOXGATE_TEST_SLOW_BUILD") else 1
    n_producers, n_consumers, n_each = 4, 4, 2000 // slow
    q = queue(400, 1 << 30, stream_jobs=120)
    taken_jobs: list[list[Any]] = [[] for _ in range(n_consumers)]
    cancelled: list[list[Any]] = [[] for _ in range(2)]
    refused: list[list[Any]] = [[] for _ in range(n_producers)]
    errors: list[BaseException] = []
    seen: deque[Any] = deque(maxlen=64)
    started = threading.Barrier(n_producers + n_consumers + 2)
    produced = threading.Event()

    def guarded(run: Callable[[], None]) -> Callable[[], None]:
        def target() -> None:
            started.wait(WAIT_S)
            try:
                run()
            except BaseException as error:
                errors.append(error)

        return target

    def produce(number: int) -> Callable[[], None]:
        def run() -> None:
            luck = random.Random(number)
            audio = np.zeros(5000, np.float32)
            for i in range(n_each):
                n_samples = luck.choice([1, 7, 900, 5000])
                job = (number, i, n_samples)
                try:
                    mine = audio[:n_samples] if luck.random() < 0.5 else audio[:n_samples] + np.float32(n_samples)
                    q.put(
                        job, mine, (number, i % 5) if i % 2 else number, luck.random() < 0.6, -1, luck.random() < 0.05
                    )
                except BufferError:
                    refused[number].append(job)
                seen.append(job)

        return run

    def consume(number: int) -> Callable[[], None]:
        def run() -> None:
            arena = np.zeros(20_000, np.float32) if number % 2 else None
            while (work := q.take(number * 3 + 1, 16_000, 0.0005 if number == 2 else 0.0, arena)) is not None:
                jobs, audio, lengths = work
                assert audio is not None
                for job, row, length in zip(jobs, audio, lengths, strict=True):
                    assert length == job[2]
                    assert (row[:length] == row[0]).all()
                    assert row[0] in (0.0, job[2])
                    assert not row[length:].any()
                taken_jobs[number].extend(jobs)

        return run

    def cancel(number: int) -> Callable[[], None]:
        def run() -> None:
            while not produced.is_set():
                try:
                    job = seen[random.randrange(len(seen))]
                except (IndexError, ValueError):
                    continue
                if q.cancel(job):
                    cancelled[number].append(job)
                q.depths()

        return run

    producers = [threading.Thread(target=guarded(produce(i))) for i in range(n_producers)]
    others = [threading.Thread(target=guarded(consume(i))) for i in range(n_consumers)]
    others += [threading.Thread(target=guarded(cancel(i))) for i in range(2)]
    for thread in producers + others:
        thread.start()
    for thread in producers:
        thread.join(WAIT_S)
    produced.set()
    left = q.close()
    for thread in others:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert not errors, errors[0]
    ends = Counter(job for group in (taken_jobs, cancelled, refused, [left]) for jobs in group for job in jobs)
    assert len(ends) == n_producers * n_each
    assert set(ends.values()) == {1}
    assert len(q) == 0


def test_closing_beside_takers_and_producers_loses_nothing() -> None:
    for _ in range(20):
        q = queue()
        got: list[list[Any]] = [[], []]

        def consume(mine: list[Any], q: BatchQueue = q) -> None:
            while (work := q.take(3)) is not None:
                mine.extend(work[0])

        accepted: list[Any] = []

        def produce(q: BatchQueue = q, accepted: list[Any] = accepted) -> None:
            for i in range(10_000):
                job = Job(i)
                try:
                    q.put(job, None, i % 7, True, 10)
                except RuntimeError:
                    return
                accepted.append(job)

        consumers = [in_thread(lambda mine=mine: consume(mine))[0] for mine in got]  # type: ignore[misc]
        producer, _ = in_thread(produce)
        while len(accepted) < 50 and producer.is_alive():
            pass
        left = q.close()
        for thread in (*consumers, producer):
            thread.join(WAIT_S)
        assert Counter(map(id, accepted)) == Counter(map(id, got[0] + got[1] + left))
