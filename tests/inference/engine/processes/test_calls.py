"""Calls with state, interim results, and calls that nobody needs, on real worker processes."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import worker_models as does
from helpers.job_source import DIED, Source, job
from helpers.processes import until
from voxgate.errors import InferenceError, InternalError
from voxgate.inference.engine.base import CallMethod, Job, State
from voxgate.inference.engine.processes import ProcessEngine

Started = Callable[..., tuple[ProcessEngine, Source]]


def step(state: State, what: int = does.COUNT, method: CallMethod = "step", **fields: Any) -> Job:
    made = job(what, **fields)
    made.state, made.method = state, method
    return made


# --- states ---


def test_the_calls_of_a_state_continue_each_other_in_the_process_that_opened_it(start: Started) -> None:
    engine, source = start("Adder", processes=2)
    states = [State() for _ in range(6)]
    homes = [source.run(step(state))[0]["pid"] for state in states]  # type: ignore[index,call-overload]
    assert set(homes) <= set(engine.pids)
    assert all(state.opened and state.pin is not None for state in states)
    for total in (8, 12):
        jobs = [step(state) for state in states]
        for one in jobs:
            source.put(one)
        assert source.wait(*jobs) == [{"total": total, "pid": home} for home in homes]
    assert source.run(step(states[0], method="finish", n_samples=0)) == [{"total": 12, "finished": True}]
    assert engine.model.stateful


def test_a_call_without_a_result_and_one_that_fails_leave_the_state_as_it_is(start: Started) -> None:
    _, source = start("Adder")
    state = State()
    assert source.run(step(state, does.SPEECHLESS)) == [None]
    (refused,) = source.run(step(state, does.REFUSE))
    (failed,) = source.run(step(state, does.FAIL))
    assert type(refused) is InferenceError
    assert type(failed) is InternalError
    assert source.run(step(state))[0]["total"] == 8  # type: ignore[index,call-overload]


def test_the_death_of_a_worker_is_an_error_for_its_states_and_for_no_other(start: Started) -> None:
    engine, source = start("Adder", processes=2)
    lost, waiting, kept = State(), State(), State()
    dead_pid = source.run(step(lost))[0]["pid"]  # type: ignore[index,call-overload]
    hangs = step(lost, does.HANG)
    source.put(hangs)
    source.wait_taken(2)
    kept_pid = source.run(step(kept))[0]["pid"]  # type: ignore[index,call-overload]
    assert {dead_pid, kept_pid} == set(engine.pids)
    waiting.pin, waiting.opened = lost.pin, True
    waits = step(waiting)
    source.put(waits)
    os.kill(dead_pid, signal.SIGKILL)
    assert [str(outcome) for outcome in source.wait(hangs, waits)] == [DIED] * 2
    assert lost.lost
    assert source.run(step(kept))[0] == {"total": 8, "pid": kept_pid}
    assert not kept.lost
    # A session whose state is lost goes on with a new one.
    assert source.run(step(State()))[0]["total"] == 4  # type: ignore[index,call-overload]


def test_the_death_of_a_worker_that_waits_is_an_error_for_the_calls_that_wait_for_it(start: Started) -> None:
    engine, source = start("Adder")
    state = State()
    (pid,) = engine.pids
    source.run(step(state))
    os.kill(pid, signal.SIGKILL)
    until(lambda: state.pin is not None and state.pin.is_lost, engine)


def test_a_step_that_hangs_ends_its_worker_and_its_state(start: Started) -> None:
    engine, source = start("Adder")
    state = State()
    source.run(step(state))
    (outcome,) = source.run(step(state, does.HANG, within_s=0.2))
    assert str(outcome) == "The model gave no answer within 0.2 s"
    assert state.lost
    until(lambda: engine.counts().kills == 1, engine)


def test_a_state_is_dropped_in_the_worker_when_its_session_ends(start: Started, tmp_path: Path) -> None:
    engine, source = start("Adder", {"directory": str(tmp_path)})
    (pid,) = engine.pids
    trial = tmp_path / f"dropped-{pid}-8000"
    until(trial.exists, engine)
    state = State()
    source.run(step(state))
    assert not (tmp_path / f"dropped-{pid}-4").exists()
    for taken in source.taken:
        for one in taken:
            one.state = None
    del state, one, taken
    gc.collect()
    until((tmp_path / f"dropped-{pid}-4").exists, engine)  # Without any further call.


# --- interim results ---


def test_yielded_values_come_as_interim_results_and_the_last_one_as_the_result(start: Started) -> None:
    _, source = start("Words")
    asks = job(n_samples=3)
    asks.on_partial = lambda job, output: None
    assert source.run(asks) == [{"n": 2}]
    assert source.wait_partials(3) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert source.run(job(n_samples=3)) == [{"n": 2}]
    assert source.run(job(n_samples=0)) == [None]
    assert len(source.partials) == 3


def test_a_generator_that_raises_half_way_is_an_error(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    _, source = start("Words")
    fails = job(does.FAIL)
    fails.on_partial = lambda job, output: None
    (outcome,) = source.run(fails)
    assert type(outcome) is InternalError
    assert source.wait_partials(2) == [{"n": 0}, {"n": 1}]
    assert "a secret of the model" in caplog.text


@pytest.mark.parametrize("is_told", [True, False])
def test_a_generator_that_nobody_needs_is_closed(start: Started, tmp_path: Path, is_told: bool) -> None:
    engine, source = start("Words", {"directory": str(tmp_path)})
    unneeded = job(does.HANG)
    unneeded.on_partial = lambda job, output: None
    source.put(unneeded)
    source.wait_partials(1)
    unneeded.dropped = True
    if is_told and unneeded.on_cancel is not None:  # Otherwise the next interim result shows that it is not needed.
        unneeded.on_cancel()
    (outcome,) = source.wait(unneeded)
    assert str(outcome) == "Cancelled"
    assert unneeded.on_cancel is None
    assert list(tmp_path.glob("closed-after-*"))
    assert engine.counts().kills == 0
    assert source.run(job(n_samples=2)) == [{"n": 1}]
