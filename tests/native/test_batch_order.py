"""Which jobs of a `BatchQueue` come next, and which together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.batch_queue import Job, in_thread, noise, put, queue, taken
from reference.batch_ref import ReferenceQueue
from voxgate._native.batch import BatchQueue, Interrupt

WAIT_S = 60  # How long a test waits before it gives up; nothing here takes that long.
SECOND = 16_000


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
