from __future__ import annotations

import copy
import gc
import os
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.batch_queue import Job, in_thread, noise, put, queue, taken
from voxgate._native.batch import BatchQueue

WAIT_S = 60  # How long a test waits before it gives up; nothing here takes that long.
SECOND = 16_000


# --- the batch ---


def check_batch(q: BatchQueue, audios: list[np.ndarray], arena: Any = None) -> np.ndarray:
    jobs = [Job(i) for i in range(len(audios))]
    for job, audio in zip(jobs, audios, strict=True):
        q.put(job, audio, job)
    work = q.take(len(audios), 0, 0.0, arena)
    assert work is not None
    got, audio, lengths = work
    assert got == jobs
    assert audio is not None
    assert (audio.dtype, lengths.dtype) == (np.float32, np.int64)
    assert audio.shape == (len(audios), max(map(len, audios)))
    assert audio.flags.c_contiguous
    assert audio.flags.writeable
    assert audio.flags.aligned
    assert lengths.tolist() == [len(a) for a in audios]
    for row, expected in zip(audio, audios, strict=True):
        np.testing.assert_array_equal(row[: len(expected)], expected)
        assert not row[len(expected) :].any()
    return audio


@pytest.mark.parametrize(
    "lengths", [[1], [0], [3, 5], [5, 3], [0, 0], [0, 7], [4] * 16, [1, 100_000, 17], [70_000] * 3, list(range(40))]
)
def test_rows_are_the_audio_and_then_zeros(lengths: list[int]) -> None:
    q = queue()
    for seed in range(2):  # The second one finds the first one's memory.
        check_batch(q, [noise(n, seed + i) for i, n in enumerate(lengths)])
        arena = np.full(len(lengths) * max(lengths) + 3, np.nan, np.float32)
        audio = check_batch(q, [noise(n, seed + i) for i, n in enumerate(lengths)], arena)
        assert audio.size == 0 or audio.ctypes.data == arena.ctypes.data
        assert np.isnan(arena[audio.size :]).all()


def test_the_audio_of_one_is_not_copied() -> None:
    q, audio = queue(), noise(10)
    q.put("job", audio, None)
    work = q.take(16)
    assert work is not None
    assert work[1] is not None
    assert np.shares_memory(work[1], audio)
    assert work[1].shape == (1, 10)
    reference = weakref.ref(audio)
    del audio
    assert reference() is not None
    del work
    assert reference() is None


def test_a_batch_of_several_is_a_copy() -> None:
    q, audios = queue(), [noise(10), noise(10, 1)]
    audio = check_batch(q, audios)
    assert not any(np.shares_memory(audio, a) for a in audios)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: np.repeat(a, 2)[::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32),
        lambda a: np.frombuffer(a.tobytes(), np.float32),  # read-only
    ],
)
def test_audio_of_any_layout(make: Callable[[np.ndarray], np.ndarray]) -> None:
    plain = noise(11)
    odd = make(plain)
    np.testing.assert_array_equal(odd, plain)
    for others in ([], [noise(4)]):
        check_batch(queue(), [odd, *others])


def test_rows_without_audio_are_for_the_taker_to_fill() -> None:
    q, audio = queue(), noise(5)
    q.put("empty", None, 1, True, 9)
    q.put("full", audio, 2)
    jobs, rows, lengths = q.take(2)  # type: ignore[misc]
    assert jobs == ["empty", "full"]
    assert rows.shape == (2, 9)
    assert not rows[0].any()
    np.testing.assert_array_equal(rows[1, :5], audio)
    assert lengths.tolist() == [9, 5]
    q.put("lone", None, 1, True, 3)
    _, rows, lengths = q.take(2)  # type: ignore[misc]
    assert rows.tolist() == [[0, 0, 0]]


def test_memory_of_a_batch_outlives_the_queue_and_is_used_again() -> None:
    q = queue()
    audios = [noise(SECOND, i) for i in range(4)]
    audio = check_batch(q, audios)
    where = audio.ctypes.data
    row = audio[2]
    del audio
    other = check_batch(q, audios)
    assert other.ctypes.data != where  # A view still looks at it.
    del row, other
    n_bytes = q.nbytes
    last = check_batch(q, audios)
    assert q.nbytes < n_bytes - last.nbytes / 2  # It was kept, and is now taken.
    del q
    gc.collect()
    np.testing.assert_array_equal(last[3], audios[3])


# --- bounds, cancelling, closing ---


def test_bounds_are_told_and_room_is_made() -> None:
    q = queue(2)
    first, second = put(q, 2)
    with pytest.raises(BufferError, match=r"^2 jobs wait already$"):
        put(q)
    assert q.cancel(first)
    put(q)
    assert taken(q) == [second]
    put(q)
    q = queue(stream_jobs=2)
    put(q, 2, stream="a")
    with pytest.raises(BufferError, match=r"^2 jobs of the stream wait already$"):
        put(q, stream="a", final=False)
    put(q, 2, stream="b")
    q = queue(max_samples=100)
    put(q, 1, 60)
    with pytest.raises(BufferError, match=r"^no room for 41 samples more: at most 100 may wait$"):
        put(q, 1, 41)
    put(q, 1, 40)
    q = queue(stream_samples=100)
    put(q, 1, 60, "a")
    with pytest.raises(BufferError, match=r"^no room for 41 samples more: at most 100 of a stream may wait$"):
        put(q, 1, 41, "a")
    put(q, 1, 101, "b")
    assert len(q) == 2


def test_a_bound_on_samples_lets_a_single_job_through() -> None:
    q = queue(max_samples=10)
    put(q, 1, 1000)
    with pytest.raises(BufferError):
        put(q, 1, 0)
    taken(q)
    put(q, 1, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "max_jobs must be at least 1, got 0"),
        ((1, 0), "max_samples must be at least 1, got 0"),
        ((1, 1, -1), "stream_jobs must be at least 0, got -1"),
        ((1, 1, 0, -1), "stream_samples must be at least 0, got -1"),
    ],
)
def test_bounds_that_are_none_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchQueue(*arguments)


def test_a_job_waits_once() -> None:
    q, job = queue(), Job()
    q.put(job, noise(1), None)
    with pytest.raises(ValueError, match="waits already"):
        q.put(job, noise(1), None)
    assert taken(q) == [job]
    q.put(job, noise(1), None)


def test_cancelling_takes_out_one_job_from_anywhere() -> None:
    for victim in range(5):
        q = queue()
        jobs = [Job(i) for i in range(5)]
        for job in jobs:
            q.put(job, noise(3), None, job.name % 2 == 0)
        assert q.cancel(jobs[victim])
        assert not q.cancel(jobs[victim])
        assert not q.cancel(Job())
        expected = [job for job in [*jobs[::2], *jobs[1::2]] if job is not jobs[victim]]
        assert taken(q, 16) == expected
        assert not any(map(q.cancel, jobs))


def test_close_hands_back_what_waits_and_wakes_everybody() -> None:
    q = queue()
    takers = [in_thread(lambda: q.take(1)) for _ in range(3)]
    takers.append(in_thread(lambda: q.take(4, 0, 1000.0)))
    q.close()
    for thread, results in takers:
        thread.join(WAIT_S)
        assert results == [None]
    q = queue()
    interim, final = *put(q, final=False), *put(q)
    assert q.close() == [final, interim]
    assert q.close() == []
    assert q.take(1) is None
    assert len(q) == 0
    with pytest.raises(RuntimeError, match="closed"):
        put(q)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "max_items must be at least 1, got 0"),
        ((1, -1), ValueError, "max_samples must be at least 0, got -1"),
        ((1, 0, -0.1), ValueError, "window_s must be at least 0, got -0.1"),
        ((1, 0, float("nan")), ValueError, "window_s must be at least 0, got nan"),
        ((1, 0, float("inf")), ValueError, "window_s must be at least 0, got inf"),
        ((1, 0, 0.0, b"read-only"), BufferError, "writable"),
        ((1, 0, 0.0, 3), TypeError, "bytes-like"),
        ((1, 0, 0.0, memoryview(bytearray(64))[1:]), ValueError, "aligned to 4 bytes"),
    ],
)
def test_a_take_that_makes_no_sense_takes_nothing(arguments: Any, error: type[Exception], message: str) -> None:
    q = queue()
    put(q)
    with pytest.raises(error, match=message):
        q.take(*arguments)
    assert len(q) == 1


@pytest.mark.parametrize(
    ("audio", "error", "message"),
    [
        (np.zeros(3), TypeError, "float32 array of shape .n,., got an array of float64"),
        ([0.0], TypeError, "got list"),
        (np.zeros((1, 3), np.float32), ValueError, r"must have shape .n,., got \(1, 3\)"),
        (None, ValueError, r"n_samples must be 0..1099511627776 without audio, got -1"),
    ],
)
def test_audio_of_another_form_is_refused(audio: Any, error: type[Exception], message: str) -> None:
    q = queue()
    with pytest.raises(error, match=message):
        q.put(Job(), audio, None)
    assert len(q) == 0


def test_it_cannot_be_copied() -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(queue())


# --- references and memory ---


def test_references_are_held_while_a_job_waits_and_not_longer() -> None:
    ends: list[Callable[[BatchQueue, Job], Any]] = [
        lambda q, job: q.cancel(job),
        lambda q, job: q.take(1),
        lambda q, job: q.close(),
    ]
    for end in ends:
        q, job, audio, stream = queue(), Job(), noise(8), Job()
        q.put(job, audio, stream)
        alive = [weakref.ref(thing) for thing in (job, audio)]
        stream_alive = weakref.ref(stream)
        del audio, stream
        assert stream_alive() is None
        assert all(reference() is not None for reference in alive)
        end(q, job)
        del job
        assert [reference() for reference in alive] == [None, None]
    q, job = queue(), Job()
    q.put(job, noise(8), None)
    alive = [weakref.ref(job)]
    del q, job
    assert alive[0]() is None


def test_a_refused_job_is_not_held() -> None:
    q = queue(1)
    put(q)
    job = Job()
    before = sys.getrefcount(job)
    with pytest.raises(BufferError):
        q.put(job, noise(1), None)
    assert sys.getrefcount(job) == before


def test_memory_is_given_back_when_nothing_waits() -> None:
    q = queue()
    put(q)
    taken(q)
    least = q.nbytes
    jobs = [Job(i) for i in range(20_000)]
    for job in jobs:
        q.put(job, None, job, job.name % 2 == 0, 100)
    assert q.nbytes > 20_000 * 100
    for job in jobs[::3]:
        assert q.cancel(job)
    while len(q):
        taken(q, 100)  # Batches of 40 KB, which are not kept.
    assert q.nbytes <= 4 * least


def test_streams_that_come_and_go_are_forgotten() -> None:
    """Also while something always waits, and while the present stands still."""
    q = queue()
    put(q, 1, 8, "stays", final=False)
    for i in range(20_000):
        q.put(i, None, ("stream", i), True, 100)
        if i % 3:
            q.put(-1 - i, None, ("stream", i), False, 100)
        taken(q, 2)
        assert q.nbytes < 2_000_000
    assert len(q) < 20_000


def test_blocks_are_bounded_and_given_back_when_idle() -> None:
    q = queue()

    def batch() -> Any:
        for i in range(2):
            q.put(object(), None, i, True, 1_000_000)
        return q.take(2)

    batches = [batch() for _ in range(12)]
    small = q.nbytes
    del batches
    assert 0 < q.nbytes - small <= 8 * 8_100_000
    thread, _ = in_thread(lambda: q.take(1))
    while q.nbytes > small:  # A taker that waits for a second gives them back.
        assert thread.is_alive()
        os.sched_yield()
    q.close()
    thread.join(WAIT_S)


def test_counts_are_integers_and_sizes_do_not_overflow() -> None:
    with pytest.raises(TypeError):
        BatchQueue(2.9, 100)  # type: ignore[arg-type]
    q = BatchQueue(100, 2**62)
    with pytest.raises(TypeError):
        q.put("a", None, "s", n_samples=3.9)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_samples must be 0"):
        q.put("a", None, "s", n_samples=2**60 - 1)
