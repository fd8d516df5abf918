from __future__ import annotations

import gc

import pytest

from helpers.job_source import job
from voxgate.inference.engine.base import State
from voxgate.inference.engine.ray.states import PlacedStates


def test_a_state_has_a_number_and_then_a_replica() -> None:
    states, one, other = PlacedStates(), job(), job()
    assert states.ref(job()) is None
    for made in (one, other):
        made.method, made.state = "step", State()
    first = states.ref(one)
    assert first is not None
    assert (first.method, first.number, first.replica) == ("step", 1, "")
    states.place(one, "r1")
    one.method = "finish"
    again, second = states.ref(one), states.ref(other)
    assert again is not None
    assert second is not None
    assert (again.method, again.number, again.replica, again.server) == ("finish", 1, "r1", first.server)
    assert second.number == 2
    one.state = other.state = None
    gc.collect()
    assert [(freed.replica, freed.numbers) for freed in states.take_freed()] == [("r1", [1])]  # 2 was never opened.
    assert states.take_freed() == []


def test_infer_takes_no_state() -> None:
    wrong = job()
    wrong.state = State()
    with pytest.raises(AssertionError, match="infer takes no state"):
        PlacedStates().ref(wrong)
