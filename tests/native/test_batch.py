from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import sys
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.batch_ref import ReferenceQueue
from voxgate._native.batch import BatchQueue, Interrupt

WAIT_S = 60  # How long a test waits before it gives up; nothing here takes that long.
SECOND = 16_000


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


# --- which jobs ---


def test_finals_before_interims() -> None:
    q = queue()
    interims = put(q, 2, final=False)
    finals = put(q, 2)
    assert q.depths() == (2, 2, 32, 0)
    assert [taken(q)[0] for _ in range(4)] == finals + interims


def test_speculative_jobs_come_after_finals_and_before_interims() -> None:
    q = queue()
    interims, speculative, finals = put(q, 1, final=False), put(q, 2, speculative=True), put(q, 2)
    assert len(q) == 5
    assert q.depths() == (2, 1, 40, 2)
    assert taken(q, 3) == [*finals, speculative[0]]
    assert q.cancel(speculative[1])
    assert taken(q) == interims
    speculative = put(q, 1, final=False, speculative=True)
    interims = put(q, 1, final=False)
    assert q.close() == speculative + interims


def test_a_batch_of_finals_is_filled_up_with_interims() -> None:
    q = queue()
    interims, finals = put(q, 3, final=False), put(q, 2)
    assert taken(q, 4) == [*finals, *interims[:2]]


@pytest.mark.parametrize(("waiting", "wanted", "expected"), [(5, 3, 3), (3, 3, 3), (2, 3, 2), (1, 16, 1)])
def test_what_is_there_is_taken_up_to_the_limit(waiting: int, wanted: int, expected: int) -> None:
    q = queue()
    assert len(put(q, waiting)) == waiting
    assert len(taken(q, wanted)) == expected
    assert len(q) == waiting - expected


@pytest.mark.parametrize(
    ("lengths", "max_samples", "expected"),
    [
        ([10, 10, 10], 30, 3),
        ([10, 10, 10], 29, 2),
        ([10, 1, 1], 29, 2),  # padded: two times ten
        ([1, 1, 10], 29, 2),  # the third would make it thirty
        ([1, 1, 10], 30, 3),
        ([100, 1], 50, 1),  # a single one may be longer
        ([100, 1], 100, 1),
        ([0, 0, 0], 1, 3),
    ],
)
def test_a_batch_is_bounded_by_its_padded_size(lengths: list[int], max_samples: int, expected: int) -> None:
    for arena in (None, np.zeros(max_samples, np.float32)):
        q = queue()
        for i, n in enumerate(lengths):
            q.put(i, noise(n), i)
        work = q.take(16, 0 if arena is not None else max_samples, 0.0, arena)
        assert work is not None
        assert work[0] == list(range(expected))
        assert (work[1] is None) == (arena is not None and lengths[0] > max_samples)
        assert work[2].tolist() == lengths[:expected]


def test_what_does_not_fit_is_not_overtaken() -> None:
    q = queue()
    for i, n in enumerate([10, 100, 10]):
        q.put(i, noise(n), i)
    assert taken(q, 16, 40) == [0]
    assert taken(q, 16, 40) == [1]


def test_a_job_that_wants_to_be_alone_is() -> None:
    q = queue()
    for i, alone in enumerate([False, False, True, True, False]):
        q.put(i, noise(3), i, True, -1, alone)
    assert [taken(q, 16) for _ in range(4)] == [[0, 1], [2], [3], [4]]


def test_what_was_put_in_front_comes_first_of_its_lane_beyond_the_bounds() -> None:
    q = queue(2)
    q.put("old", noise(3), 1)
    q.put("interim", noise(3), 1, False)
    for name in "ba":
        q.put(name, noise(3), 2, True, -1, False, True)
    assert taken(q, 16) == ["a", "b", "old", "interim"]


def test_streams_take_turns_by_seconds_of_audio() -> None:
    q = queue()
    for i in range(40):
        q.put(("long", i), noise(4 * SECOND), 1)
        q.put(("short", i), noise(SECOND), 2)
    counts = Counter(taken(q)[0][0] for _ in range(25))
    assert counts == {"short": 20, "long": 5}


def test_a_stream_that_was_away_has_saved_up_nothing() -> None:
    q = queue()
    for i in range(100):
        q.put(("busy", i), noise(SECOND), 1)
    q.put(("other", 0), noise(SECOND), 2)
    for _ in range(50):
        taken(q)
    for i in range(50):
        q.put(("other", i), noise(SECOND), 2)
    counts = Counter(taken(q)[0][0] for _ in range(20))
    assert counts == {"busy": 10, "other": 10}


def test_a_stream_that_has_just_been_served_waits_for_the_others() -> None:
    """One job at a time, each put when the last one was taken: without a memory of it, it would always be first."""
    q = queue()
    q.put("greedy", noise(4 * SECOND), 1)
    for i in range(8):
        q.put(i, noise(SECOND), 2)
    served = []
    for _ in range(7):
        served.append(taken(q)[0])
        if served[-1] == "greedy":
            q.put("greedy", noise(4 * SECOND), 1)
    assert served == ["greedy", 0, 1, 2, 3, 4, "greedy"]


def test_when_a_lane_runs_empty_nobody_owes_anything() -> None:
    """Whatever the other lane does."""
    q = queue()
    put(q, 1, 8, "elsewhere", final=False)
    put(q, 1, SECOND, "a")
    taken(q)
    (first,) = put(q, 1, 8, "a")
    (second,) = put(q, 1, 8, "b")
    assert taken(q, 2) == [first, second]


def test_calls_on_nothing_are_not_for_nothing() -> None:
    q = queue()
    for i in range(100):
        q.put(i, noise(0), 1)
    for i in range(10):
        q.put(("something", i), noise(1024), 2)
    names = [taken(q)[0] for _ in range(20)]
    assert sum(isinstance(name, tuple) for name in names) == 10


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.integers(0, 5),
            st.sampled_from([0, 1, 500, 1024, 2000, 5000]),
            st.sampled_from(["final", "speculative", "interim"]),
            st.sampled_from([False, False, False, True]),
            st.integers(0, 2),
            st.sampled_from([None, None, "a", "b"]),
        ),
        st.tuples(st.just("unpin"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("front"), st.integers(0, 5), st.sampled_from([0, 2000])),
        st.tuples(st.just("cancel"), st.integers(0, 200)),
        st.tuples(
            st.just("take"),
            st.integers(1, 6),
            st.sampled_from([0, 2000, 8000]),
            st.sampled_from([None, 1500, 6000]),
            st.sampled_from([None, "a", "b"]),
        ),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(
    OPERATIONS,
    st.sampled_from([{}, {"max_jobs": 6}, {"stream_jobs": 2}, {"max_samples": 9000}, {"stream_samples": 4000}]),
)
def test_it_decides_as_the_textbook_does(operations: list[Any], bounds: dict[str, int]) -> None:
    bounds = {"max_jobs": 1000, "max_samples": 1 << 40} | bounds
    q, reference = BatchQueue(**bounds), ReferenceQueue(**bounds)
    streams = [object() for _ in range(6)]
    groups = [None, object(), object()]
    jobs: list[Job] = []
    for operation in operations:
        match operation:
            case ("unpin", pin):
                assert set(q.unpin(pin)) == set(reference.unpin(pin))
            case ("put", stream, n_samples, lane, alone, group, pin):
                final, speculative = lane == "final", lane == "speculative"
                how = (alone, False, groups[group], speculative, pin)
                jobs.append(Job(len(jobs)))
                try:
                    q.put(jobs[-1], noise(n_samples), streams[stream], final, -1, *how)
                    accepted = True
                except BufferError:
                    accepted = False
                assert accepted == reference.put(jobs[-1], n_samples, streams[stream], final, *how)
            case ("front", stream, n_samples):
                jobs.append(Job(len(jobs)))
                q.put(jobs[-1], None, streams[stream], True, n_samples, False, True)
                assert reference.put(jobs[-1], n_samples, streams[stream], True, False, True)
            case ("cancel", index) if jobs:
                job = jobs[index % len(jobs)]
                assert q.cancel(job) == reference.cancel(job)
            case ("take", max_items, max_samples, room, pin) if reference.first(pin) is not None:
                arena = None if room is None else np.zeros(room, np.float32)
                expected = reference.take(max_items, max_samples, room, pin)
                assert taken(q, max_items, max_samples, 0.0, arena, None, pin) == expected
        finals, speculative, interims = (
            sum(waiting.lane == lane for waiting in reference.waiting) for lane in range(3)
        )
        n_samples = sum(waiting.n_samples for waiting in reference.waiting)
        assert q.depths() == (finals, interims, n_samples, speculative)
    for waiting in reference.waiting:
        waiting.pin = None  # The end asks for none.
    drained = []
    while reference.waiting:
        drained += reference.take(1)
    assert q.close() == drained


# --- pins ---


def test_a_pinned_job_goes_to_its_taker_and_blocks_no_other() -> None:
    q = queue()
    (mine,) = put(q, stream="one", pin="a")
    (behind,) = put(q, stream="one", pin="b")
    (free,) = put(q, stream="two")
    interrupt = Interrupt()
    q.interrupt(interrupt)
    assert taken(q, 9, 0, 0.0, None, None, "b") == [behind, free]
    assert q.take(9, 0, 0.0, None, interrupt) is None
    assert taken(q, 9, 0, 0.0, None, None, "a") == [mine]


def test_the_jobs_of_a_pin_are_taken_out_together() -> None:
    q = queue()
    lost = put(q, 2, stream="one", pin="a") + put(q, stream="two", pin="a", final=False)
    kept = put(q, stream="one", pin="b") + put(q, stream="one")
    assert set(q.unpin("a")) == set(lost)
    assert q.unpin("a") == []
    assert q.close() == kept


@pytest.mark.timeout(WAIT_S)
def test_a_waiting_taker_wakes_for_its_pin_among_others() -> None:
    q = queue()
    waiting = {pin: in_thread(lambda pin=pin: taken(q, 1, 0, 0.0, None, None, pin)) for pin in "abcd"}  # type: ignore[misc]
    for pin, (thread, results) in waiting.items():
        (job,) = put(q, pin=pin)
        thread.join()
        assert results == [[job]]


@pytest.mark.timeout(WAIT_S)
def test_one_wake_up_is_enough_for_all_jobs_that_were_put_without_one() -> None:
    q = queue()
    threads = [in_thread(lambda: taken(q)) for _ in range(3)]
    jobs = put(q, 3, wake=False)
    q.wake()
    for thread, _ in threads:
        thread.join()
    assert {job for _, results in threads for (job,) in results} == set(jobs)
    q.wake()  # nobody waits, and nothing


# --- groups ---


def test_a_batch_has_jobs_of_one_group_and_the_others_come_next() -> None:
    q, groups, streams = queue(), [object(), object(), None], [object() for _ in range(9)]
    for i, stream in enumerate(streams):
        q.put(i, noise(10), stream, group=groups[i % 3])
    assert [taken(q, 16) for _ in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_within_a_stream_jobs_of_different_groups_keep_their_order() -> None:
    q, german, english, stream = queue(), object(), object(), object()
    for i, group in enumerate([german, english, german, german]):
        q.put(i, noise(10), stream, group=group)
    assert [taken(q, 16) for _ in range(3)] == [[0], [1], [2, 3]]


def test_what_was_passed_over_is_served_before_later_jobs_of_the_group() -> None:
    q, german, english = queue(), object(), object()
    q.put("de 0", noise(10), 1, group=german)
    q.put("en 0", noise(10), 2, group=english)
    assert taken(q, 16) == ["de 0"]
    q.put("de 1", noise(10), 3, group=german)
    assert taken(q, 16) == ["en 0"]


def test_no_interim_goes_before_a_final_that_was_passed_over() -> None:
    q, german, english = queue(), object(), object()
    q.put("de", noise(10), 1, group=german)
    q.put("en", noise(10), 2, group=english)
    q.put("interim", noise(10), 3, False, group=german)
    assert [taken(q, 16) for _ in range(3)] == [["de"], ["en"], ["interim"]]


def test_a_search_for_jobs_of_the_group_ends_after_128_streams() -> None:
    q, german, english, others = queue(), object(), object(), [object() for _ in range(129)]
    q.put("first", noise(10), 1, group=german)
    for stream in others[:128]:
        q.put(Job(), noise(10), stream, group=english)
    q.put("near", noise(10), 2, group=german)
    assert taken(q, 16) == ["first", "near"]
    q.put(Job(), noise(10), others[128], group=english)
    assert len(taken(q, 200)) == 129
    q.put("first", noise(10), 1, group=german)
    for stream in others:
        q.put(Job(), noise(10), stream, group=english)
    q.put("far", noise(10), 2, group=german)
    assert taken(q, 16) == ["first"]


# --- fairness, on a clock of its own ---


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


def test_counts_are_integers_and_sizes_do_not_overflow() -> None:
    with pytest.raises(TypeError):
        BatchQueue(2.9, 100)  # type: ignore[arg-type]
    q = BatchQueue(100, 2**62)
    with pytest.raises(TypeError):
        q.put("a", None, "s", n_samples=3.9)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_samples must be 0"):
        q.put("a", None, "s", n_samples=2**60 - 1)
