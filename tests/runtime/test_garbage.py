"""Full rounds of the garbage collector look at what is new, and complete rounds at everything."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from voxgate.runtime.garbage import COMPLETE_S, GROWTH, GarbageRounds


class Node:
    """Something in a cycle."""

    def __init__(self) -> None:
        self.me = self


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Loop:
    """Runs what it was asked to when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def no_rounds() -> Iterator[None]:
    """No round but those that the test makes."""
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.enable()


def started(loop: Any, clock: Clock) -> GarbageRounds:
    rounds = GarbageRounds(loop.call_soon, clock)
    rounds.start()
    return rounds


@pytest.mark.usefixtures("no_rounds")
def test_what_has_survived_a_full_round_is_not_looked_at_again():
    rounds = started(Loop(), Clock())
    try:
        kept = [[] for _ in range(500)]
        gc.collect()
        assert not any(thing is found for found in gc.get_objects() for thing in kept[:3])  # frozen ones are not listed
        new = [[] for _ in range(500)]
        assert any(new[0] is found for found in gc.get_objects())
        assert len(gc.get_objects()) < 5000
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_rounds_of_young_objects_freeze_nothing():
    rounds = started(Loop(), Clock())
    try:
        new: list[Any] = [[] for _ in range(10)]
        gc.collect(0)
        gc.collect(1)
        assert any(new[0] is found for found in gc.get_objects())
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_cycles_among_frozen_objects_are_freed_by_a_complete_round():
    loop, clock = Loop(), Clock()
    rounds = started(loop, clock)
    try:
        node = Node()
        gone = weakref.ref(node)
        gc.collect()
        del node
        gc.collect()
        loop.run()
        assert gone() is not None  # frozen
        clock.now_s += COMPLETE_S
        gc.collect()
        gc.collect()
        assert len(loop.calls) == 1  # not two
        loop.run()
        assert gone() is None
        gc.collect()
        assert not loop.calls  # the time has begun anew
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_frozen_garbage_is_bounded_without_time():
    """The results of a model hold cycles, and a full round comes while many are in use."""
    loop = Loop()
    rounds = started(loop, Clock())
    try:
        n_alive = gc.get_freeze_count()
        n_batch = (n_alive + GROWTH) // 10
        n_most = n_complete = 0
        for _ in range(25):
            results = [Node() for _ in range(n_batch)]
            gc.collect()
            del results
            n_most = max(n_most, gc.get_freeze_count())
            n_complete += len(loop.calls)
            loop.run()
        assert 2 <= n_complete <= 3
        assert n_most < 2 * n_alive + GROWTH + 4 * n_batch  # a batch, and those between two counts
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_objects_without_cycles_need_no_complete_round():
    loop = Loop()
    rounds = started(loop, Clock())
    try:
        n_batch = (gc.get_freeze_count() + GROWTH) // 10
        for _ in range(25):
            results: list[Any] = [[] for _ in range(n_batch)]
            gc.collect()
            del results
        assert loop.calls == []
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_a_closed_loop_is_no_error():
    def closed(call: Callable[[], None]) -> None:
        raise RuntimeError("closed")

    clock = Clock()
    rounds = GarbageRounds(closed, clock)
    rounds.start()
    try:
        clock.now_s += COMPLETE_S
        gc.collect()
    finally:
        rounds.stop()


@pytest.mark.usefixtures("no_rounds")
def test_the_collector_is_as_before_in_the_end():
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    rounds = GarbageRounds(Loop().call_soon, Clock())
    rounds.stop()  # without effect
    rounds.start()
    assert gc.get_threshold() != thresholds
    rounds.stop()
    assert gc.get_threshold() == thresholds
    assert gc.callbacks == callbacks
