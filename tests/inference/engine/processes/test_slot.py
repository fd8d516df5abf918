"""The slot of a worker: crashes, hangs, and which job is to blame."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import worker_models as does
from helpers.job_source import DIED, Source, job
from helpers.processes import gone, until
from voxgate.errors import InferenceError
from voxgate.inference.engine.processes import ProcessEngine
from voxgate.inference.engine.processes import slot as slot_module

Started = Callable[..., tuple[ProcessEngine, Source]]


def test_a_bug_of_ours_costs_a_worker_and_no_more(
    start: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start()
    monkeypatch.setattr(slot_module, "call_timeout_s", lambda jobs, now_s: monkeypatch.undo() or 1 / 0)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert "a bug of ours" in caplog.text
    assert engine.counts().restarts == 1


def test_a_final_whose_worker_died_is_run_once_more(
    start: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start(options={"directory": str(tmp_path)})
    before = engine.pids[0]
    survivor = source.one(does.CRASH_ONCE)["survived"]
    assert survivor != before
    assert gone(before)
    counts = engine.counts()
    assert (counts.crashes, counts.restarts, counts.kills) == (1, 1, 0)
    assert f"(pid {before}) was ended by SIGKILL while it ran a call" in caplog.text
    assert engine.ready


def test_a_final_that_kills_twice_fails_and_an_interim_is_dropped(start: Started) -> None:
    engine, source = start()
    assert str(source.one(does.CRASH)) == DIED
    until(lambda: engine.counts().crashes == 2, engine)
    assert str(source.one(does.CRASH, final=False)) == DIED
    until(lambda: engine.counts().crashes == 3, engine)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}


def test_an_answer_ends_a_row_of_crashes(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    _, source = start()
    source.one(does.CRASH, final=False)
    source.one(does.COUNT)
    source.one(does.CRASH)  # Twice, for it is a final.
    source.one(does.COUNT)
    waits = [record.getMessage().rpartition(" in ")[2] for record in caplog.records if "another" in record.getMessage()]
    assert waits == ["0.01 s", "0.01 s", "0.02 s"]


def test_a_crash_in_a_batch_fails_only_the_one_that_crashes(start: Started) -> None:
    engine, source = start("Together")
    jobs = [job(n_samples=n) for n in (1, 2, 3, 4, 5)]
    jobs[2].audio[0] = does.CRASH
    source.put(*jobs)
    outcomes = source.wait(*jobs)
    assert str(outcomes.pop(2)) == DIED
    assert outcomes == [{"count": n, "sum": 0.0} for n in (1, 2, 4, 5)]
    until(lambda: engine.counts().crashes == 2, engine)


def test_a_crash_touches_no_other_worker(start: Started) -> None:
    engine, source = start(processes=2)
    before = set(engine.pids)
    assert str(source.one(does.CRASH)) == DIED
    until(lambda: len(engine.pids) == 2, engine)
    until(lambda: engine.counts().crashes == 2, engine)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert len(before) == 2


@pytest.mark.parametrize("n_processes", [1, 2])
def test_the_death_of_a_worker_that_waits_is_noticed_without_a_call(
    start: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture, n_processes: int
) -> None:
    engine, source = start(options={"directory": str(tmp_path)}, processes=n_processes)
    (tmp_path / "broken").touch()  # Its replacement does not come up yet.
    victim, *others = engine.pids
    os.kill(victim, signal.SIGKILL)
    until(lambda: engine.counts().restarts == 2, engine)
    assert (engine.counts().crashes, engine.ready) == (1, n_processes > 1)
    assert f"(pid {victim}) was ended by SIGKILL while it waited for work; starting another in 0.01 s" in caplog.text
    (tmp_path / "broken").unlink()
    until(lambda: len(list(tmp_path.glob("warm-*"))) > n_processes and engine.ready, engine)
    until(lambda: len(engine.pids) == n_processes, engine)
    assert victim not in engine.pids
    assert set(others) <= set(engine.pids)
    assert source.taken == []


def test_the_death_of_a_worker_that_waits_is_noticed_where_the_system_has_no_pidfd(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pidfd(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", no_pidfd)
        engine, source = start()
        victim = engine.pids[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: engine.counts().crashes == 1, engine)
        assert source.one(does.PID)["pid"] != victim


def test_a_worker_that_dies_while_it_waits_costs_nobody_anything(start: Started) -> None:
    engine, source = start()
    before = engine.pids[0]
    os.kill(before, signal.SIGKILL)
    assert gone(before)
    asked, interim = job(), job(final=False)
    assert source.run(asked) == [{"count": 4, "sum": 0.0}]
    assert asked.attempts == 1  # The attempt that never was is not held against it.
    assert source.run(interim) == [{"count": 4, "sum": 0.0}]


def test_a_job_that_outlives_its_deadline_is_answered_and_its_worker_killed(
    start: Started, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start()
    before = engine.pids[0]
    error = source.one(does.HANG, within_s=0.2)
    assert isinstance(error, InferenceError)
    assert str(error) == "The model gave no answer within 0.2 s"
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert gone(before)
    counts = engine.counts()
    assert (counts.kills, counts.crashes, counts.restarts) == (1, 0, 1)
    assert f"(pid {before}) was killed because it ran a call for too long" in caplog.text


def test_a_model_that_hangs_with_the_gil_in_its_hand_is_killed_too(start: Started) -> None:
    engine, source = start("Stubborn")
    assert isinstance(source.one(does.HANG, within_s=0.2), InferenceError)
    assert source.one(does.COUNT)["pid"] in engine.pids


def test_a_hang_in_a_batch_is_answered_to_the_one_that_hangs(start: Started) -> None:
    engine, source = start("Together", processes=2)
    fine = [job(n_samples=n, within_s=30.0) for n in (1, 2)]
    hung = job(does.HANG, within_s=2.0)
    source.put(fine[0], hung, fine[1])
    outcomes = source.wait(*fine, hung)
    assert outcomes[:2] == [{"count": 1, "sum": 0.0}, {"count": 2, "sum": 0.0}]
    assert str(outcomes[2]) == "The model gave no answer within 2 s"
    until(lambda: engine.counts().kills == 2, engine)  # The batch, and the one that hangs alone.
