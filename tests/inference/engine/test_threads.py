from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from voxgate._native.batch import Interrupt
from voxgate.cli import measure
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine import threads
from voxgate.inference.engine.base import Arena, BatchLimits, Job, JobOutcome, State, Work
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.models.base import Batch, Model
from voxgate.models.dummy import Dummy

WAIT_S = 30  # How long a test waits before it gives up; nothing here takes that long.


def job(n_samples: int = 3, **fields: Any) -> Job:
    return Job(np.zeros(n_samples, np.float32), 16_000, True, None, lambda job: None, pending=True, **fields)


class Source:
    """Hands out the batches it was given, whatever number of jobs is asked for, and keeps what comes back."""

    def __init__(self) -> None:
        self.batches: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self.finished: queue.SimpleQueue[tuple[list[Job], list[JobOutcome]]] = queue.SimpleQueue()
        self.asked: list[BatchLimits] = []

    def take(self, limits: BatchLimits, arena: Arena | None = None, interrupt: Interrupt | None = None) -> Work | None:
        assert arena is None
        self.asked.append(limits)
        jobs = self.batches.get()
        return Work(jobs, Batch.gather([job.audio for job in jobs])) if jobs else None

    def interrupt(self, interrupt: Interrupt) -> None:
        raise AssertionError("threads do not die")

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[JobOutcome]) -> None:
        self.finished.put((list(jobs), list(outcomes)))

    def requeue(self, jobs: Sequence[Job]) -> None:
        raise AssertionError("threads do not die")

    def run(self, jobs: list[Job]) -> list[JobOutcome]:
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


@pytest.mark.parametrize(
    ("model", "max_batch_size", "asked"),
    [
        (Counter(), 7, BatchLimits(1)),
        (BatchCounter(), 7, BatchLimits(7, 90.0, 0.02)),
        (BatchCounter(), 1, BatchLimits(1)),
    ],
)
def test_more_than_one_job_is_asked_for_only_when_the_model_batches(
    model: Model, max_batch_size: int, asked: BatchLimits
) -> None:
    engine = ThreadEngine(model, 1, max_batch_size, max_batch_seconds=90.0, batch_window_s=0.02)
    source = Source()
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
    cancelled.pending = False
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
    monkeypatch.setattr(threads, "usable_cpus", lambda: 3)
    model = Counter()
    model.threads = hint
    assert ThreadEngine(model, configured).concurrency == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": -1}, r"inference.threads must be within 0\.\.1024, not -1"),
        ({"threads": 1025}, r"not 1025"),
        ({"max_batch_size": 0}, "inference.max_batch_size must be at least 1, not 0"),
        ({"max_batch_seconds": 0}, "inference.max_batch_seconds must be above 0, not 0"),
        ({"max_batch_seconds": math.nan}, "inference.max_batch_seconds must be above 0, not nan"),
        ({"batch_window_s": -0.001}, "inference.batch_window_ms must be at least 0, not -1"),
        ({"batch_window_s": math.inf}, "inference.batch_window_ms must be at least 0, not inf"),
    ],
)
def test_bad_numbers_are_refused(arguments: dict[str, Any], message: str) -> None:
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


def test_warm_up_tries_a_short_session_when_the_model_is_stateful() -> None:
    class Walker(Model):
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def open(self) -> str:
            return "state"

        def step(self, audio: np.ndarray, state: Any) -> None:
            self.calls.append((len(audio), state))

        def finish(self, state: Any) -> None:
            self.calls.append(state)

    class Both(Walker):
        def infer(self, audio: np.ndarray) -> Any:
            self.calls.append(len(audio))
            return {}

    for model, calls in ((Walker(), []), (Both(), [16_000])):
        ThreadEngine(model).warm_up()
        assert model.calls == [*calls, (16_000, "state"), "state"]


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InferenceError("wants ten seconds"), "(inference_failed): wants ten seconds; starting all the same"),
        (ValueError("broken"), "(internal): Internal server error; starting all the same"),
    ],
)
def test_a_trial_call_that_fails_does_not(error: Exception, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    class Picky(Recorder):
        def infer(self, audio: np.ndarray) -> Any:
            raise error

    ThreadEngine(Picky()).warm_up()
    assert f"the trial call of model 'Picky' with a second of noise failed {reason}" in caplog.messages


NO_RESULT = "expected a mapping with string keys, a msgspec Struct, a dataclass, a str or None, not an object of type "
ANSWERS: list[tuple[Any, str]] = [
    ([1], NO_RESULT + "'list'"),
    (7, NO_RESULT + "'int'"),
    ({1: 2}, "expected a result with string keys, but a key is of type 'int'"),
    ({"type": 1}, 'the key "type" of the result is reserved'),
    ({"x": object()}, 'the key "x" of the result cannot be sent as JSON: object has no JSON form'),
    ({}, ""),
    (None, ""),
    ("text", ""),
    ({"x": np.float32(0.5)}, ""),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS, ids=range(len(ANSWERS)))
def test_a_result_that_cannot_be_sent_ends_the_start_and_the_check(
    answer: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Answering(Recorder):
        threads = 1

        def infer(self, audio: np.ndarray) -> Any:
            return answer

    text = f"model 'Answering': the trial call with a second of noise gave a bad result: {reason}"
    with pytest.raises(ModelLoadError) if reason else contextlib.nullcontext() as refused:
        ThreadEngine(Answering()).warm_up()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    if refused is not None:
        assert str(refused.value) == f"{text}; correct the model, or start the server with inference.start_anyway"
    ThreadEngine(Answering(), start_anyway=True).warm_up()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ([f"{text}; starting all the same (inference.start_anyway)"] if reason else [])
    expected = pytest.raises(measure.CheckFailed) if reason else contextlib.nullcontext()
    with expected:
        measure.measure(Answering(), 0.0)


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


def test_the_second_try_of_a_batch_gets_the_audio_at_the_models_rate() -> None:
    class Wide(Counter):
        sample_rate = 24_000

        def infer_batch(self, batch: Batch) -> Any:
            raise ValueError

    engine, source = ThreadEngine(Wide(), 1), Source()
    engine.start(source)
    assert source.run([job(1600), job(800)]) == [{"count": 2400}, {"count": 1200}]
    source.close(engine)


# --- stateful models ---


class Adder(Model):
    """Adds up; its first sample says what to do."""

    def open(self) -> list[int]:
        return []

    def step(self, audio: np.ndarray, state: list[int]) -> Any:
        if len(audio) == 13:
            raise InferenceError("unlucky")
        if len(audio) == 666:
            raise ValueError("secret")
        state.append(len(audio))
        return {"sum": sum(state)} if len(state) % 2 else None

    def finish(self, state: list[int]) -> Any:
        return {"steps": len(state)}


def test_a_state_is_opened_once_and_goes_from_call_to_call() -> None:
    engine, source = ThreadEngine(Adder(), threads=1), Source()
    engine.start(source)
    state, other = State(), State()
    assert source.run([job(3, method="step", state=state)]) == [{"sum": 3}]
    assert source.run([job(9, method="step", state=other)]) == [{"sum": 9}]
    assert source.run([job(4, method="step", state=state)]) == [None]
    assert [str(outcome) for outcome in source.run([job(13, method="step", state=state)])] == ["unlucky"]
    assert [type(outcome) for outcome in source.run([job(666, method="step", state=state)])] == [InternalError]
    assert source.run([job(5, method="step", state=state)]) == [{"sum": 12}]
    assert source.run([job(0, method="finish", state=state)]) == [{"steps": 3}]
    source.close(engine)
    counts = engine.counts()
    assert (counts.results, counts.inference_errors, counts.failures) == (5, 1, 1)


def test_a_lost_state_answers_with_an_error() -> None:
    engine, source = ThreadEngine(Adder(), threads=1), Source()
    engine.start(source)
    (outcome,) = source.run([job(3, method="step", state=State(lost=True))])
    assert isinstance(outcome, InferenceError)
    assert "its state is lost" in str(outcome)
    source.close(engine)


# --- progress ---


def test_an_engine_is_stalled_while_every_thread_is_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(threads.time, "monotonic", lambda: now_s)
    entered, gates = threading.Semaphore(0), [threading.Event(), threading.Event()]

    class Gated(Counter):
        def infer(self, audio: np.ndarray) -> Any:
            entered.release()
            assert gates[len(audio)].wait(WAIT_S)
            return {}

    engine, source = ThreadEngine(Gated(), threads=2), Source()
    assert engine.stalled_s == 0.0
    engine.start(source)
    assert engine.stalled_s == 0.0
    source.batches.put([job(0)])
    assert entered.acquire(timeout=WAIT_S)
    now_s = 110.0
    assert engine.stalled_s == 0.0  # One thread waits for work.
    source.batches.put([job(1)])
    assert entered.acquire(timeout=WAIT_S)
    now_s = 113.0
    assert engine.stalled_s == 3.0  # The younger call counts.
    gates[1].set()
    source.finished.get(timeout=WAIT_S)
    source.batches.put([])
    gates[0].set()
    source.finished.get(timeout=WAIT_S)
    source.batches.put([])
    assert engine.stop(WAIT_S)
    assert engine.stalled_s == 0.0


def test_stop_waits_for_a_warm_up_that_nobody_waits_for_any_more() -> None:
    begun, go = threading.Event(), threading.Event()
    story: list[str] = []

    class Slow(Model):
        def warm_up(self) -> None:
            begun.set()
            assert go.wait(WAIT_S)
            story.append("warm")

        def infer(self, audio: np.ndarray) -> Any:
            story.append("infer")
            return {}

        def close(self) -> None:
            story.append("closed")

    source = Source()
    engine = ThreadEngine(Slow(), 1)
    engine.start(source)
    warming = threading.Thread(target=engine.warm_up)
    warming.start()
    assert begun.wait(WAIT_S)
    source.batches.put(Work([], Batch.gather([])))
    assert not engine.stop(0.01)  # still in there: the model is left open
    assert story == []
    go.set()
    warming.join(WAIT_S)
    assert engine.stop(WAIT_S)
    assert story[0] == "warm"
    assert story[-1] == "closed"
