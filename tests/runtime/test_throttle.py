"""The first lines of a kind are logged, the others counted, and the count is told."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from voxgate.runtime.throttle import LeftOut, Throttle, and_more


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_one_line_an_interval_which_says_how_many_were_left_out():
    clock = Clock()
    throttle = Throttle(60, clock=clock)
    assert [throttle.admit() for _ in range(4)] == [0, None, None, None]
    assert throttle.is_quiet()
    clock.now_s += 59.9
    assert throttle.admit() is None
    clock.now_s += 0.1
    assert not throttle.is_quiet()
    assert [throttle.admit() for _ in range(2)] == [4, None]


def test_a_burst_is_admitted_at_once():
    throttle = Throttle(60, burst=3, clock=Clock())
    assert [throttle.admit() for _ in range(5)] == [0, 0, 0, None, None]
    assert [throttle.admit("own", burst=2) for _ in range(3)] == [0, 0, None]


def test_kinds_are_limited_each_on_its_own():
    throttle = Throttle(60, clock=Clock())
    assert [throttle.admit(kind) for kind in "abab"] == [0, 0, None, None]


def test_a_time_may_be_given_in_place_of_the_clock():
    throttle = Throttle(60, clock=Clock())
    assert throttle.admit(now_s=5.0) == 0
    assert throttle.admit(now_s=64.0) is None
    assert throttle.is_quiet(now_s=64.0)
    assert throttle.admit(now_s=65.0) == 1


def test_what_was_left_out_is_handed_over_once():
    clock = Clock()
    throttle = Throttle(60, clock=clock)
    for kind in ("a", "b", "a", "a"):
        throttle.admit(kind, about=kind.upper())
    assert (throttle.next_s, throttle.over()) == (60.0, [])
    clock.now_s += 61
    assert throttle.over() == [LeftOut("A", 2, 61.0)]
    assert (throttle.next_s, throttle.over()) == (None, [])
    assert [throttle.admit("a") for _ in range(2)] == [0, None]
    assert throttle.rest() == [LeftOut(None, 1, 0.0)]
    assert throttle.rest() == []


def test_memory_is_bounded_and_the_oldest_is_forgotten():
    throttle = Throttle(60, max_kinds=3, clock=Clock())
    for kind in range(1000):
        assert throttle.admit(kind) == 0
        assert throttle.admit(kind) is None
    assert [left_out.n_lines for left_out in throttle.rest()] == [1] * 4
    throttle.admit("again")
    assert throttle.is_quiet("again")
    assert not throttle.is_quiet(999)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 50)), max_size=60), st.integers(1, 4))
def test_every_line_is_logged_or_counted(lines, max_kinds):
    """With `over` before each line, as a log handler has it."""
    clock = Clock()
    throttle = Throttle(60, max_kinds=max_kinds, clock=clock)
    n_logged = n_left_out = 0
    for kind, pause_s in lines:
        clock.now_s += pause_s
        n_left_out += sum(left_out.n_lines for left_out in throttle.over())
        admitted = throttle.admit(kind)
        n_logged += admitted is not None
        n_left_out += admitted or 0
    assert n_logged + n_left_out + sum(left_out.n_lines for left_out in throttle.rest()) == len(lines)


def test_threads_share_it():
    throttle, admitted = Throttle(60, burst=10, clock=Clock()), []
    threads = [threading.Thread(target=lambda: admitted.extend(throttle.admit() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted.count(0) == 10
    (left_out,) = throttle.rest()
    assert left_out.n_lines == 8 * 500 - 10


def test_the_words():
    assert [and_more(0), and_more(3)] == ["", " (3 more like it since the last such line)"]
