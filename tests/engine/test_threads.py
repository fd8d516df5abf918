from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from voxgate.engine import threads
from voxgate.engine.base import Job, Outcome
from voxgate.engine.threads import ThreadEngine
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.models.base import Batch, Model
from voxgate.models.dummy import Dummy

WAIT_S = 30  # How long a test waits before it gives up; nothing here takes that long.


def job(n_samples: int = 3) -> Job:
    return Job(np.zeros(n_samples, np.float32), 16_000, True, None, lambda job: None)


class Source:
    """Hands out the batches it was given, whatever number of jobs is asked for, and keeps what comes back."""

    def __init__(self) -> None:
        self.batches: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self.finished: queue.SimpleQueue[tuple[list[Job], list[Outcome]]] = queue.SimpleQueue()
        self.asked: list[int] = []

    def take(self, max_jobs: int) -> list[Job]:
        self.asked.append(max_jobs)
        return self.batches.get()

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        self.finished.put((list(jobs), list(outcomes)))

    def run(self, jobs: list[Job]) -> list[Outcome]:
        self.batches.put(jobs)
        returned, outcomes = self.finished.get(timeout=WAIT_S)
        assert returned == jobs
        return outcomes

    def close(self, engine: ThreadEngine) -> None:
        for _ in range(engine.concurrency):
            self.batches.put([])
        assert engine.stop(WAIT_S)


class Counter(Model):
    name = "counter"

    def __init__(self) -> None:
        self.closed = 0

    def infer(self, audio: np.ndarray) -> Any:
        return {"count": len(audio)}

    def close(self) -> None:
        self.closed += 1


class BatchCounter(Counter):
    def infer_batch(self, batch: Batch) -> Any:
        return [{"count": int(n), "of": len(batch)} for n in batch.lengths]


def test_batches_come_back_with_their_outcomes() -> None:
    engine, source = ThreadEngine(BatchCounter(), threads=1), Source()
    engine.start(source)
    assert source.run([job(4)]) == [{"count": 4}]
    assert source.run([job(4), job(6)]) == [{"count": 4, "of": 2}, {"count": 6, "of": 2}]
    source.close(engine)
    counts = engine.counts()
    assert (counts.batches, counts.jobs, counts.results) == (2, 3, 3)
    assert (counts.failures, counts.inference_errors, counts.retried_batches) == (0, 0, 0)


@pytest.mark.parametrize(("model", "asked"), [(Counter(), 1), (BatchCounter(), 7)])
def test_more_than_one_job_is_asked_for_only_when_the_model_batches(model: Model, asked: int) -> None:
    engine, source = ThreadEngine(model, threads=1, max_batch_size=7), Source()
    engine.start(source)
    source.close(engine)
    assert source.asked == [asked]


def test_every_thread_runs_at_once_and_is_named() -> None:
    n = 5
    barrier = threading.Barrier(n, timeout=WAIT_S)  # Passed only when all calls run at the same time.
    names: set[str] = set()

    class Together(Counter):
        def infer(self, audio: np.ndarray) -> Any:
            names.add(threading.current_thread().name)
            barrier.wait()
            return {}

    engine, source = ThreadEngine(Together(), threads=n), Source()
    engine.start(source)
    assert engine.ready
    for _ in range(n):
        source.batches.put([job()])
    for _ in range(n):
        assert source.finished.get(timeout=WAIT_S)[1] == [{}]
    assert names == {f"voxgate-infer-{i}" for i in range(n)}
    assert all(thread.daemon for thread in engine._threads)
    source.close(engine)
    assert not engine.ready


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_worker_outlives_its_model_and_counts(error: BaseException) -> None:
    class Broken(Counter):
        def infer(self, audio: np.ndarray) -> Any:
            if len(audio) == 1:
                raise error
            if len(audio) == 2:
                raise InferenceError("no")
            return {}

    engine, source = ThreadEngine(Broken(), threads=1), Source()
    engine.start(source)
    (outcome,) = source.run([job(1)])
    assert type(outcome) is InternalError
    (outcome,) = source.run([job(2)])
    assert type(outcome) is InferenceError
    assert source.run([job(3)]) == [{}]
    source.close(engine)
    counts = engine.counts()
    assert (counts.failures, counts.inference_errors, counts.results, counts.jobs) == (1, 1, 1, 3)


def test_a_failed_batch_is_counted_as_retried() -> None:
    class Broken(BatchCounter):
        def infer_batch(self, batch: Batch) -> Any:
            raise ValueError

    engine, source = ThreadEngine(Broken(), threads=1), Source()
    engine.start(source)
    assert source.run([job(1), job(2)]) == [{"count": 1}, {"count": 2}]
    cancelled = job(2)
    cancelled.cancelled = True
    outcomes = source.run([job(1), cancelled])
    assert outcomes[0] == {"count": 1}
    assert isinstance(outcomes[1], InferenceError)
    source.close(engine)
    assert engine.counts().retried_batches == 2


def test_a_bug_of_ours_is_an_error_for_the_jobs_and_not_the_end_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, source = ThreadEngine(Counter(), threads=1), Source()
    engine.start(source)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(engine._invoker, "invoke", broken)
        (outcome,) = source.run([job()])
    assert type(outcome) is InternalError
    assert "a bug of ours" in caplog.text
    assert source.run([job()]) == [{"count": 3}]
    source.close(engine)


# --- how many threads ---


@pytest.mark.parametrize(
    ("configured", "hint", "expected"), [(0, None, 3), (0, 64, 64), (5, 64, 5), (5, None, 5), (0, 5000, 1024)]
)
def test_concurrency(configured: int, hint: int | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_usable_cpus", lambda: 3)
    model = Counter()
    model.threads = hint
    assert ThreadEngine(model, configured).concurrency == expected


def test_usable_cpus_is_at_least_one() -> None:
    assert threads._usable_cpus() >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": -1}, r"inference.threads must be within 0\.\.1024, not -1"),
        ({"threads": 1025}, r"not 1025"),
        ({"max_batch_size": 0}, "inference.max_batch_size must be at least 1, not 0"),
    ],
)
def test_bad_numbers_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ThreadEngine(Counter(), **arguments)


@pytest.mark.parametrize("knob", ["crash_rate", "hang_rate"])
def test_a_model_that_would_take_the_server_with_it_is_refused(knob: str) -> None:
    with pytest.raises(ConfigError, match=f"'dummy' must not run on threads .* because {knob} is 0.1: expected worker"):
        ThreadEngine(Dummy(**{knob: 0.1}))


def test_a_model_that_holds_the_gil_is_run_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = Counter()
    model.holds_gil = True
    engine, source = ThreadEngine(model, threads=1), Source()
    engine.start(source)
    source.close(engine)
    assert "model 'counter' holds the GIL" in caplog.text


# --- warm-up ---


class Recorder(Model):
    """Writes down what is asked of it."""

    name = "recorder"

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def warm_up(self) -> None:
        self.calls.append("warm_up")

    def infer(self, audio: np.ndarray) -> Any:
        self.calls.append(audio.copy())
        return {}


class BatchRecorder(Recorder):
    def infer_batch(self, batch: Batch) -> Any:
        self.calls.append(len(batch))
        return [{}] * len(batch)


def test_warm_up_calls_the_model_then_tries_it_with_a_second_of_faint_noise() -> None:
    model = Recorder()
    model.sample_rate = 8000
    engine = ThreadEngine(model)
    assert engine.warm_up() >= 0.0
    assert model.calls[0] == "warm_up"
    (audio,) = model.calls[1:]
    assert audio.dtype == np.float32
    assert audio.shape == (8000,)
    assert 20 * np.log10(np.sqrt(np.mean(audio**2))) == pytest.approx(-60, abs=1)
    assert engine.counts().jobs == 0


def test_warm_up_tries_a_batch_too_when_the_model_batches() -> None:
    model = BatchRecorder()
    ThreadEngine(model).warm_up()
    assert model.calls[2:] == [2]
    model = BatchRecorder()
    ThreadEngine(model, max_batch_size=1).warm_up()
    assert len(model.calls) == 2


def test_the_dummy_pays_its_penalty_at_warm_up() -> None:
    model = Dummy(jitter=0, panic_rate=0)
    slept: list[float] = []
    model.sleep = slept.append
    ThreadEngine(model).warm_up()
    model.infer(np.zeros(16_000, np.float32))
    assert slept == [pytest.approx(8.8), pytest.approx(0.8)]


@pytest.mark.parametrize("error", [ValueError("no weights"), SystemExit("no weights")])
def test_a_warm_up_that_fails_ends_the_start(error: BaseException) -> None:
    class Cold(Recorder):
        def warm_up(self) -> None:
            raise error

    with pytest.raises(ModelLoadError, match=f"warm-up of model 'Cold' failed: {type(error).__name__}: no weights"):
        ThreadEngine(Cold()).warm_up()


@pytest.mark.parametrize("error", [InferenceError("secret"), ValueError("broken")])
def test_a_trial_call_that_fails_does_not(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Recorder):
        def infer(self, audio: np.ndarray) -> Any:
            raise error

    ThreadEngine(Picky()).warm_up()
    assert "the trial call of model 'Picky'" in caplog.text
    assert "secret" not in caplog.text


# --- the end ---


def test_stop_waits_for_the_running_call_and_then_closes_the_model() -> None:
    entered, gate = threading.Event(), threading.Event()

    class Slow(Counter):
        def infer(self, audio: np.ndarray) -> Any:
            entered.set()
            gate.wait(WAIT_S)
            assert self.closed == 0
            return {"late": True}

    model = Slow()
    engine, source = ThreadEngine(model, threads=2), Source()
    engine.start(source)
    source.batches.put([job()])
    assert entered.wait(WAIT_S)
    for _ in range(2):
        source.batches.put([])
    assert engine.stop(0.0) is False
    assert model.closed == 0
    gate.set()
    assert engine.stop() is True
    assert model.closed == 1
    assert source.finished.get(timeout=WAIT_S)[1] == [{"late": True}]


def test_a_model_that_fails_to_close_does_not_stop_the_stopping(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Counter):
        def close(self) -> None:
            raise OSError

    assert ThreadEngine(Stubborn()).stop()
    assert "closing model 'Stubborn' failed" in caplog.text


def test_an_engine_starts_once() -> None:
    engine, source = ThreadEngine(Counter(), threads=1), Source()
    engine.start(source)
    with pytest.raises(AssertionError, match="twice"):
        engine.start(source)
    source.close(engine)


def test_audio_at_another_rate_is_resampled_for_the_model() -> None:
    class Wide(Counter):
        sample_rate = 24_000

    source = Source()
    engine = ThreadEngine(Wide(), 1)
    engine.start(source)
    assert source.run([job(1600)]) == [{"count": 2400}]
    source.close(engine)
