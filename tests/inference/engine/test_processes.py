"""The engine of worker processes: what comes back, who is blamed, what is left behind."""

from __future__ import annotations

import errno
import gc
import logging
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import worker_models as does
from voxgate._native.batch import Interrupt
from voxgate.config.option_text import OptionText
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine import processes
from voxgate.inference.engine.base import BatchLimits, Job, Outcome, Work
from voxgate.inference.engine.processes import ProcessEngine, patience_s
from voxgate.models.base import Batch
from voxgate.runtime.tasks import spawn_thread

WAIT_S = 60  # How long a test waits before it gives up; nothing here takes that long.
DIED = "worker died"


def job(what: int = does.COUNT, n_samples: int = 4, final: bool = True, within_s: float = math.inf) -> Job:
    audio = np.zeros(n_samples, np.float32)
    if n_samples:
        audio[0] = what
    made = Job(audio, 8_000, final, None, lambda job: None)
    made.submitted_s = time.perf_counter()
    made.deadline_s = made.submitted_s + within_s
    made.owed = True
    return made


class Source:
    """What a scheduler is to an engine. Batches are taken as they were put; a job that came back runs before them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batches: deque[list[Job]] = deque()
        self._closed = False
        self.outcomes: dict[Job, Outcome] = {}
        self.taken: list[list[Job]] = []
        self.limits: list[BatchLimits] = []

    def take(self, limits: BatchLimits, arena: Any = None, interrupt: Interrupt | None = None) -> Work | None:
        with self._changed:
            self.limits.append(limits)
            self._changed.wait_for(lambda: self._batches or self._closed or interrupt.is_set)
            if interrupt.is_set or not self._batches:
                return None
            jobs = self._batches.popleft()
            self.taken.append(jobs)
            self._changed.notify_all()
        for taken in jobs:
            taken.attempts += 1
        batch = Batch.gather([taken.audio for taken in jobs])
        audio = np.frombuffer(arena, np.float32, batch.audio.size).reshape(batch.audio.shape)
        audio[:] = batch.audio
        return Work(jobs, Batch(audio, batch.lengths))

    def interrupt(self, interrupt: Interrupt) -> None:
        with self._changed:
            interrupt.set()
            self._changed.notify_all()

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            for done, outcome in zip(jobs, outcomes, strict=True):
                assert done not in self.outcomes, "answered twice"
                self.outcomes[done] = outcome
            self._changed.notify_all()

    def requeue(self, jobs: Sequence[Job]) -> None:
        again = [back for back in jobs if back.final and back.attempts < 2 and not self._closed]
        lost = [back for back in jobs if back not in again]
        self.finish(lost, [InferenceError(DIED)] * len(lost))
        with self._changed:
            if again:
                self._batches.appendleft(again)
            self._changed.notify_all()

    # --- the test's side ---

    def put(self, *jobs: Job) -> None:
        with self._changed:
            self._batches.append(list(jobs))
            self._changed.notify_all()

    def wait(self, *jobs: Job) -> list[Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: all(each in self.outcomes for each in jobs), WAIT_S)
            return [self.outcomes[each] for each in jobs]

    def wait_taken(self, n_batches: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= n_batches, WAIT_S)

    def run(self, *jobs: Job) -> list[Outcome]:
        self.put(*jobs)
        return self.wait(*jobs)

    def one(self, what: int, **more: Any) -> Any:
        return self.run(job(what, **more))[0]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


Started = Callable[..., tuple[ProcessEngine, Source]]


@pytest.fixture
def start() -> Iterator[Started]:
    """``start("Puppet", {"directory": ...}, processes=2)``: an engine that is warm, and its source."""
    running: list[tuple[ProcessEngine, Source]] = []

    def begin(name: str = "Puppet", options: Any = None, **settings: Any) -> tuple[ProcessEngine, Source]:
        settings = {"processes": 1, "restart_backoff_s": 0.01, **settings}
        engine, source = ProcessEngine(f"helpers.worker_models:{name}", options, **settings), Source()
        running.append((engine, source))
        engine.load()
        engine.start(source)
        engine.warm_up()
        return engine, source

    yield begin
    for engine, source in running:
        source.close()
        engine.stop(WAIT_S)
    for engine, _ in running:
        assert engine.pids == []
    with pytest.raises(ChildProcessError):  # Neither a child nor a zombie is left.
        os.waitpid(-1, os.WNOHANG)


def gone(pid: int) -> bool:
    """Waits for the end of any process, then says True."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(WAIT_S * 1000))
    finally:
        os.close(pidfd)


def until(condition: Callable[[], bool], engine: ProcessEngine) -> None:
    with engine.changed:
        assert engine.changed.wait_for(condition, WAIT_S)


# --- what comes back ---


def test_audio_arrives_and_results_come_back(start: Started) -> None:
    engine, source = start()
    assert (engine.model.name, engine.model.sample_rate, engine.model.batches) == ("puppet", 8_000, False)
    assert (engine.concurrency, engine.ready) == (1, True)
    audio = np.random.default_rng(1).uniform(0, 0.4, 80_000).astype(np.float32)
    asked = job()
    asked.audio = audio
    assert source.run(asked) == [{"count": 80_000, "sum": pytest.approx(float(audio.sum()))}]
    assert source.one(does.COUNT, n_samples=0) == {"count": 0, "sum": 0.0}
    counts = engine.counts()
    assert (counts.batches, counts.jobs, counts.results, counts.crashes, counts.restarts) == (2, 2, 2, 0, 0)
    assert {limits.max_items for limits in source.limits} == {1}


def test_batches_keep_their_rows(start: Started) -> None:
    engine, source = start("Together", max_batch_size=5, max_batch_seconds=9.0, batch_window_s=0.25)
    outcomes = source.run(job(n_samples=3), job(n_samples=0), job(n_samples=7))
    assert outcomes == [{"count": n, "sum": 0.0, "of": 3} for n in (3, 0, 7)]
    assert set(source.limits) == {BatchLimits(5, 9.0, 0.25)}
    assert engine.counts().batches == 1


def test_a_batch_that_failed_after_changing_its_audio_is_tried_item_by_item_with_the_audio_as_it_was(
    start: Started,
) -> None:
    engine, source = start("Together")
    changed, counted = job(does.CHANGE), job(n_samples=6)
    counted.audio[1:] = 0.25
    assert source.run(counted, changed) == [{"count": 6, "sum": 1.25}, {"count": 4, "sum": -4.0}]
    assert engine.counts().retried_batches == 1


def test_results_keep_what_they_hold(start: Started) -> None:
    _, source = start()
    result = source.one(does.NUMPY)
    assert math.isnan(result.pop("nan"))
    assert result == {"scalar": 0.5, "array": [0, 1, 2], "nested": [{"x": [1, None, True]}], "bytes": b"ab"}
    assert len(source.one(does.LONG)["text"]) == 3_000_000


def test_options_reach_the_model_whatever_toml_can_say(start: Started) -> None:
    options = {"when": does.TODAY, "list": [1, {"x": 2.5}]}
    _, source = start(options=options)
    assert source.one(does.PID)["options"] == str(options)


def test_text_of_the_environment_is_still_such_in_the_worker(start: Started) -> None:
    _, source = start(options={"n": OptionText("3"), "text": OptionText("x")})
    assert source.one(does.PID)["options"] == str({"n": 3, "text": "x"})


def test_workers_share_the_cpus_unless_the_environment_says_otherwise(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_usable_cpus", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _, source = start(processes=2)
    assert source.one(does.PID)["omp"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    _, source = start(processes=1)
    assert source.one(does.PID)["omp"] == "5"


def test_a_bug_of_ours_costs_a_worker_and_no_more(
    start: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start()
    monkeypatch.setattr(processes, "patience_s", lambda jobs, now_s: monkeypatch.undo() or 1 / 0)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert "a bug of ours" in caplog.text
    assert engine.counts().restarts == 1


def test_the_model_is_never_in_our_process(start: Started) -> None:
    engine, source = start(processes=2)
    answer = source.one(does.PID)
    assert answer["pid"] in engine.pids
    assert answer["parent"] == os.getpid()
    with pytest.raises(AssertionError):
        engine.model.infer(np.zeros(1, np.float32))


# --- errors of the model ---


def test_what_the_model_refuses_reaches_the_client_and_what_it_breaks_does_not(
    start: Started, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start("Together")
    refused, broken, fine = source.run(job(does.REFUSE), job(does.FAIL), job())
    assert isinstance(refused, InferenceError)
    assert str(refused) == "not in this language: ü"
    assert isinstance(broken, InternalError)
    assert str(broken) == "Internal server error"
    assert fine == {"count": 4, "sum": 0.0}
    assert isinstance(source.one(does.EXIT), InternalError)
    logged = [record for record in caplog.records if record.name == "voxgate.inference.engine" and record.exc_text]
    assert "a secret of the model" in str(logged[0].exc_text)
    assert 'worker_models.py", load' in str(logged[0].exc_text)
    assert logged[0].process in engine.pids
    counts = engine.counts()
    assert (counts.results, counts.inference_errors, counts.failures, counts.crashes) == (1, 1, 2, 0)


def test_a_refusal_whose_text_fails_kills_no_worker(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    engine, source = start("Together")
    fine, refused = source.run(job(), job(does.SPEECHLESS))
    assert fine == {"count": 4, "sum": 0.0}
    assert (type(refused), str(refused)) == (InferenceError, "Unexpected inference failure")
    assert "no words" in caplog.text
    assert (engine.counts().crashes, engine.counts().inference_errors) == (0, 1)


def test_a_result_that_cannot_be_sent_fails_alone(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    _, source = start("Together")
    outcomes = source.run(job(), job(does.UNSPEAKABLE))
    assert outcomes[0] == {"count": 4, "sum": 0.0, "of": 2}
    assert isinstance(outcomes[1], InternalError)
    assert "'lock'" in caplog.text


def test_what_the_model_logs_is_in_our_log(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _, source = start()
        source.one(does.LOG)
    assert ("my.model", logging.WARNING, "lo and behold 7") in caplog.record_tuples
    assert "not this" not in caplog.text


def test_what_the_model_prints_stays_out_of_our_output(start: Started, capfd: pytest.CaptureFixture[str]) -> None:
    engine, source = start()
    source.one(does.PRINT)
    source.close()
    assert engine.stop(WAIT_S)
    out, err = capfd.readouterr()
    assert out == ""
    assert "written by the model" in err
    assert "printed by the model" in err


# --- death ---


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


def test_what_the_model_started_dies_with_its_worker(start: Started) -> None:
    _, source = start()
    child = source.one(does.CHILD)["child"]
    assert str(source.one(does.CRASH)) == DIED
    assert gone(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_for_the_server_do_not_end_a_worker(start: Started, number: signal.Signals) -> None:
    engine, source = start()
    before = engine.pids[0]
    os.kill(before, number)
    assert source.one(does.PID)["pid"] == before


def test_a_worker_is_out_of_reach_of_the_terminal(start: Started) -> None:
    engine, _ = start()
    assert os.getpgid(engine.pids[0]) != os.getpgid(0)
    assert os.getsid(engine.pids[0]) != os.getsid(0)


def test_workers_end_with_a_server_that_is_killed_even_in_a_call_that_holds_the_gil() -> None:
    script = (
        "import sys, numpy as np; sys.path[:] = sys.argv[1:]\n"
        "from engine_test import Source, job, does, ProcessEngine\n"
        "engine, source = ProcessEngine('helpers.worker_models:Stubborn', processes=2), Source()\n"
        "engine.load(); engine.start(source); engine.warm_up()\n"
        "source.put(job(does.HANG)); source.wait_taken(1)\n"
        "print(*engine.pids, flush=True)\n"
        "sys.stdin.read()\n"
    ).replace("engine_test", "test_processes")
    path = [str(Path(__file__).parent), *sys.path]
    with subprocess.Popen(
        [sys.executable, "-c", script, *path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        server.kill()
    assert all(gone(pid) for pid in pids)


# --- start and end ---


def test_every_worker_is_warm_before_the_engine_is(start: Started, tmp_path: Path) -> None:
    engine, source = start(options={"directory": str(tmp_path)}, processes=3)
    assert {path.name for path in tmp_path.glob("warm-*")} == {f"warm-{pid}" for pid in engine.pids}
    assert len(engine.pids) == 3
    pids = engine.pids
    source.close()
    assert engine.stop(WAIT_S)
    assert {path.name for path in tmp_path.glob("closed-*")} == {f"closed-{pid}" for pid in pids}


def test_without_warm_up_it_runs_as_well(tmp_path: Path) -> None:
    engine = ProcessEngine("helpers.worker_models:Puppet", {"directory": str(tmp_path)}, processes=1, warm_up=False)
    source = Source()
    engine.load()
    engine.start(source)
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    assert list(tmp_path.glob("warm-*")) == []
    source.close()
    assert engine.stop(WAIT_S)


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("nosuchmodel", {}, "unknown model 'nosuchmodel'"),
        ("helpers.worker_models:Nothing", {}, "no attribute 'Nothing'"),
        ("helpers.worker_models:Fatal", {}, "'where' is required"),
        ("helpers.worker_models:Fatal", {"where": "load"}, "was ended by SIGSEGV while it loaded the model"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_in_its_own_words(spec: str, options: Any, text: str) -> None:
    engine = ProcessEngine(spec, options)
    with pytest.raises(ModelLoadError, match=text):
        engine.load()
    assert not engine.ready
    assert engine.pids == []


def test_a_model_that_does_not_come_up_in_time() -> None:
    engine = ProcessEngine("helpers.worker_models:Fatal", {"where": "load-hang"}, start_timeout_s=0.3)
    with pytest.raises(ModelLoadError, match="was killed because it loaded the model for too long"):
        engine.load()


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("error", "warm-up of model 'Fatal' failed: OSError: no weights"),
        ("warm_up", "exited with status 9 while it warmed the model up"),
    ],
)
def test_a_model_that_cannot_be_warmed_up_is_refused(start: Started, where: str, text: str) -> None:
    with pytest.raises(ModelLoadError, match=text):
        start("Fatal", {"where": where}, processes=2)


def test_a_model_with_state_is_refused() -> None:
    engine = ProcessEngine("helpers.worker_models:Steps")
    with pytest.raises(ConfigError, match=r"model 'Steps' keeps state .* expected inference\.isolation = 'threads'"):
        engine.load()
    assert engine.pids == []


@pytest.mark.parametrize("settings", [{"processes": -1}, {"processes": 2000}, {"max_batch_size": 0}])
def test_numbers_out_of_range(settings: Any) -> None:
    with pytest.raises(ConfigError, match=r"inference\."):
        ProcessEngine("dummy", **settings)


def test_an_engine_whose_workers_do_not_come_up_again_says_so_and_goes_on_trying(
    start: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = start(options={"directory": str(tmp_path)})
    broken = tmp_path / "broken"
    broken.touch()
    source.run(job(does.CRASH, final=False))
    until(lambda: engine.counts().restarts >= 3 and not engine.ready, engine)
    assert engine.stalled_s > 0
    assert "warm-up of model 'puppet' failed: OSError: the weights are gone" in caplog.text
    asked = job()
    source.put(asked)
    broken.unlink()
    assert source.wait(asked) == [{"count": 4, "sum": 0.0}]
    until(lambda: engine.ready, engine)
    assert engine.counts().restarts >= 3


def test_stalled_is_zero_while_any_worker_waits(start: Started) -> None:
    engine, source = start(processes=2)
    hung = job(does.HANG)
    source.put(hung)
    source.wait_taken(1)
    assert engine.stalled_s == 0
    source.put(job(does.HANG))
    source.wait_taken(2)
    until(lambda: engine.stalled_s > 0, engine)
    source.close()
    assert not engine.stop(0.0)
    assert source.wait(hung)


def test_stop_waits_for_running_calls_and_then_kills(start: Started) -> None:
    engine, source = start()
    pid = engine.pids[0]
    hung = job(does.HANG)
    source.put(hung)
    source.wait_taken(1)
    source.close()
    assert not engine.stop(0.0)
    assert gone(pid)
    assert isinstance(source.wait(hung)[0], (InferenceError, dict))
    assert engine.counts().restarts == 0


def test_stop_before_start() -> None:
    engine = ProcessEngine("helpers.worker_models:Puppet")
    engine.load()
    assert len(engine.pids) == 1
    assert engine.stop(WAIT_S)
    assert engine.pids == []


def test_nothing_is_left_behind_by_restarts(start: Started) -> None:
    def open_files() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    _, source = start()
    source.one(does.CRASH)
    source.one(does.COUNT)
    before, mapped = open_files(), Path("/proc/self/maps").read_text().count("voxgate-audio")
    for _ in range(5):
        source.one(does.CRASH, final=False)
    source.one(does.COUNT)
    assert open_files() == before
    assert Path("/proc/self/maps").read_text().count("voxgate-audio") == mapped == 1


@pytest.mark.parametrize("refused", ["file", "thread"])
def test_no_room_for_another_worker_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    def no_file(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def no_thread(target: Callable[[], object], name: str, **options: Any) -> Any:
        if "watch" in name:
            raise RuntimeError("can't start new thread")
        return spawn_thread(target, name, **options)

    if refused == "file":
        monkeypatch.setattr(os, "pidfd_open", no_file)
    else:
        monkeypatch.setattr(processes, "spawn_thread", no_thread)
    gc.collect()
    before = os.listdir("/proc/self/fd")
    engine = ProcessEngine("helpers.worker_models:Puppet")
    with pytest.raises(ModelLoadError, match=r"a worker process cannot be started: .*(Too many open files|new thread)"):
        engine.load()
    gc.collect()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_does_nothing_but_log_is_out_of_time_like_any_other(
    start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_QUIT_TIMEOUT_S", 0.3)
    engine, source = start("Chatty")
    assert str(source.one(does.HANG, within_s=0.3)) == "The model gave no answer within 0.3 s"
    assert source.one(does.COUNT) == {"count": 4, "sum": 0.0}
    source.close()
    assert engine.stop(WAIT_S)  # Its close never returns either.


# --- numbers ---


def timed(submitted_s: float, deadline_s: float) -> Job:
    made = job()
    made.submitted_s, made.deadline_s = submitted_s, deadline_s
    return made


@pytest.mark.parametrize(
    ("jobs", "now_s", "expected_s"),
    [
        ([timed(0, 60)], 0, 60),  # Alone: until its deadline,
        ([timed(0, 60)], 20, 40),
        ([timed(0, 60)], 59, 30),  # but half a deadline at least,
        ([timed(0, 60)], 80, 30),
        ([timed(0, 60), timed(0, 60)], 0, 30),  # In company: half of what is left to the first of them,
        ([timed(0, 60), timed(10, 70)], 20, 20),
        ([timed(0, 60), timed(10, 70)], 55, 15),  # but a quarter at least.
        ([timed(0, math.inf)], 5, math.inf),
        ([timed(0, math.inf), timed(0, 8)], 0, 4),
    ],
)
def test_patience(jobs: list[Job], now_s: float, expected_s: float) -> None:
    assert patience_s(jobs, now_s) == expected_s
