"""The numbers that stand for states in a worker process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from voxgate.inference.engine.base import State
from voxgate.inference.engine.processes.states import RemoteStates


class Worker:
    """Is told of dropped states, unless it has no room."""

    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.has_room = True

    def try_drop(self, numbers: Sequence[int]) -> bool:
        if self.has_room:
            self.dropped += numbers
        return self.has_room


def test_a_state_gets_a_number_and_is_pinned_once() -> None:
    states = RemoteStates(Worker().try_drop)
    one, other = State(), State()
    assert [states.number_of(state) for state in (one, other, one)] == [1, 2, 1]
    assert one.pin is other.pin is states.pin


def test_a_state_of_another_worker_is_a_bug_of_ours() -> None:
    state = State()
    RemoteStates(Worker().try_drop).number_of(state)
    with pytest.raises(AssertionError, match="another worker"):
        RemoteStates(Worker().try_drop).number_of(state)


def test_a_state_that_is_freed_is_dropped_at_once_or_with_the_next_call() -> None:
    worker = Worker()
    states = RemoteStates(worker.try_drop)
    held = [State() for _ in range(4)]
    for state in held:
        states.number_of(state)
    del state
    held.pop()
    assert (worker.dropped, states.take_dropped()) == ([4], [])
    worker.has_room = False
    held.pop()
    held.pop()
    assert (worker.dropped, states.take_dropped(), states.take_dropped()) == ([4], [3, 2], [])
    states.close()
    held.pop()
    assert (worker.dropped, states.take_dropped()) == ([4], [])


def test_a_state_that_is_freed_while_another_is_being_dropped_waits() -> None:
    dropped: list[int] = []
    held = [State(), State()]

    def drop_the_other(numbers: Sequence[int]) -> bool:
        dropped.extend(numbers)
        held.clear()  # As when a finalizer runs in the middle.
        return True

    states = RemoteStates(drop_the_other)
    for state in held:
        states.number_of(state)
    del state
    held.pop()
    assert (dropped, states.take_dropped()) == ([2], [1])
