"""The engine of coroutines: the laws of engines, on one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from voxgate._native.batch import Interrupt
from voxgate.errors import ConfigError, InferenceError, InternalError, ModelLoadError
from voxgate.inference.engine.asynchronous import AsyncEngine
from voxgate.inference.engine.base import Arena, BatchLimits, Job, JobOutcome, Pin, State, Work
from voxgate.models.base import Batch, Model
from voxgate.protocol.output import Output

WAIT_S = 30
"""How long a test waits before it gives up; nothing here takes that long."""


def job(n_samples: int = 3, **fields: Any) -> Job:
    return Job(np.zeros(n_samples, np.float32), 16_000, True, None, lambda job: None, pending=True, **fields)


class Source:
    """Hands out the batches that it was given, and keeps what comes back."""

    def __init__(self) -> None:
        self.batches: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self.taken: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self.finished: queue.SimpleQueue[tuple[list[Job], list[JobOutcome]]] = queue.SimpleQueue()
        self.partials: queue.SimpleQueue[tuple[Job, Output]] = queue.SimpleQueue()
        self.asked: list[BatchLimits] = []

    def take(
        self,
        limits: BatchLimits,
        arena: Arena | None = None,
        interrupt: Interrupt | None = None,
        pin: Pin | None = None,
    ) -> Work | None:
        assert arena is interrupt is pin is None
        self.asked.append(limits)
        jobs = self.batches.get()
        if jobs:
            self.taken.put(jobs)
        return Work(jobs, Batch.gather([job.audio for job in jobs])) if jobs else None

    def interrupt(self, interrupt: Interrupt) -> None:
        raise AssertionError("the loop does not die")

    def unpin(self, pin: Pin) -> None:
        raise AssertionError("the loop keeps no states")

    def requeue(self, jobs: Sequence[Job]) -> None:
        raise AssertionError("the loop does not die")

    def partial(self, job: Job, output: Output) -> None:
        self.partials.put((job, output))

    def finish(self, jobs: Sequence[Job], outcomes: Sequence[JobOutcome]) -> None:
        self.finished.put((list(jobs), list(outcomes)))

    def next(self) -> list[JobOutcome]:
        return self.finished.get(timeout=WAIT_S)[1]

    def run(self, *jobs: Job) -> list[JobOutcome]:
        self.batches.put(list(jobs))
        returned, outcomes = self.finished.get(timeout=WAIT_S)
        assert returned == list(jobs)
        return outcomes


Started = Callable[..., tuple[AsyncEngine, Source]]


@pytest.fixture
def start() -> Iterator[Started]:
    """``start(model, concurrency=3)``: an engine and its source; stopped at the end, when every call has returned."""
    running: list[tuple[AsyncEngine, Source]] = []

    def begin(model: Model, **settings: Any) -> tuple[AsyncEngine, Source]:
        engine, source = AsyncEngine(model, **settings), Source()
        running.append((engine, source))
        engine.start(source)
        return engine, source

    yield begin
    for engine, source in running:
        source.batches.put([])
        assert engine.stop(WAIT_S)
        assert not engine.ready


class Counter(Model):
    name = "counter"

    def __init__(self) -> None:
        self.closed = 0

    async def infer(self, audio: np.ndarray) -> Any:
        await asyncio.sleep(0)
        return {"count": len(audio)}

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.closed += 1


class BatchCounter(Counter):
    async def infer_batch(self, batch: Batch) -> Any:  # type: ignore[override]
        return [{"count": int(n), "of": len(batch)} for n in batch.lengths]


class Held(Model):
    """Each call waits until the test lets it go on, or cancels it."""

    def __init__(self) -> None:
        self.began: queue.SimpleQueue[asyncio.Event] = queue.SimpleQueue()
        self.cancelled: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.stubborn = False

    async def infer(self, audio: np.ndarray) -> Any:
        event = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.began.put(event)
        while True:
            try:
                await event.wait()
            except asyncio.CancelledError:
                self.cancelled.put(threading.current_thread().name)
                if not self.stubborn:
                    raise
            else:
                return {"count": len(audio)}

    def wait_begun(self) -> asyncio.Event:
        return self.began.get(timeout=WAIT_S)

    def release(self, event: asyncio.Event) -> None:
        self.loop.call_soon_threadsafe(event.set)


def test_batches_come_back_with_their_outcomes(start: Started) -> None:
    engine, source = start(BatchCounter())
    assert source.run(job(4)) == [{"count": 4}]
    assert source.run(job(4), job(6)) == [{"count": 4, "of": 2}, {"count": 6, "of": 2}]
    counts = engine.counts()
    assert (counts.batches, counts.jobs, counts.results) == (2, 3, 3)
    assert (counts.failures, counts.inference_errors, counts.retried_batches) == (0, 0, 0)
    assert (engine.kind, engine.concurrency) == ("async", 64)


def test_a_function_may_be_a_coroutine(start: Started) -> None:
    from voxgate.models.function import FunctionModel

    async def count(audio: np.ndarray) -> Any:
        return {"count": len(audio)}

    _, source = start(FunctionModel(count))
    assert source.run(job(4)) == [{"count": 4}]


def test_calls_that_wait_are_served_at_once_on_one_thread(start: Started) -> None:
    n_calls = 64
    names: set[str] = set()

    class Together(Model):
        """A call returns only when all of them wait at the same time."""

        def __init__(self) -> None:
            self.n_waiting = 0

        async def infer(self, audio: np.ndarray) -> Any:
            names.add(threading.current_thread().name)
            self.n_waiting += 1
            if self.n_waiting == n_calls:
                self.all_wait.set()
            await self.all_wait.wait()
            return {"count": len(audio)}

        async def warm_up(self) -> None:  # type: ignore[override]
            self.all_wait = asyncio.Event()

    before = threading.active_count()
    model = Together()
    engine, source = start(model)
    with contextlib.suppress(AttributeError):
        asyncio.run(model.warm_up())
    for n in range(n_calls):
        source.batches.put([job(n)])
    assert sorted(source.next()[0]["count"] for _ in range(n_calls)) == list(range(n_calls))  # type: ignore[index,call-overload]
    assert names == {"voxgate-infer-loop"}
    assert threading.active_count() - before <= 3  # The loop, the puller and the watchdog.
    assert engine.counts().batches == n_calls


def test_no_more_jobs_are_taken_than_there_are_places(start: Started) -> None:
    model = Held()
    engine, source = start(model, concurrency=2)
    for _ in range(3):
        source.batches.put([job()])
    events = [model.wait_begun() for _ in range(2)]
    assert source.taken.qsize() == 2
    assert engine.stalled_s > 0
    model.release(events[0])
    assert source.next() == [{"count": 3}]
    events.append(model.wait_begun())
    for event in events[1:]:
        model.release(event)
        source.next()
    assert source.taken.qsize() == 3
    assert engine.stalled_s == 0


@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()], ids=lambda e: type(e).__name__
)
def test_the_loop_outlives_its_model_and_counts(start: Started, error: BaseException) -> None:
    class Broken(Counter):
        async def infer(self, audio: np.ndarray) -> Any:
            await asyncio.sleep(0)
            if len(audio) == 1:
                raise error
            if len(audio) == 2:
                raise InferenceError("no")
            return {}

    engine, source = start(Broken())
    (outcome,) = source.run(job(1))
    assert type(outcome) is InternalError
    (outcome,) = source.run(job(2))
    assert type(outcome) is InferenceError
    assert source.run(job(3)) == [{}]
    counts = engine.counts()
    assert (counts.failures, counts.inference_errors, counts.results, counts.jobs) == (1, 1, 1, 3)


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_task_of_the_model_that_exits_does_not_end_the_loop(
    start: Started, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    class Background(Counter):
        async def infer(self, audio: np.ndarray) -> Any:
            async def exits() -> None:
                ended.set()
                raise error

            self.task = asyncio.ensure_future(exits())
            return {}

    _, source = start(Background())
    assert source.run(job()) == [{}]
    assert ended.wait(WAIT_S)
    assert source.run(job()) == [{}]
    assert "a callback on the event loop of thread voxgate-infer-loop ended with an exception" in caplog.text


def test_a_failed_batch_is_tried_item_by_item(start: Started) -> None:
    class Broken(BatchCounter):
        async def infer_batch(self, batch: Batch) -> Any:  # type: ignore[override]
            batch.audio[:] = 1
            raise ValueError

        async def infer(self, audio: np.ndarray) -> Any:
            return {"sum": float(audio.sum())}

    engine, source = start(Broken())
    cancelled = job(2)
    cancelled.pending = False
    first, second = source.run(job(1), cancelled)
    assert first == {"sum": 0.0}
    assert isinstance(second, InferenceError)
    assert engine.counts().retried_batches == 1


@pytest.mark.parametrize("how", ["cancelled", "expired", "dropped"])
def test_a_call_that_nobody_needs_is_cancelled(start: Started, how: str) -> None:
    model = Held()
    engine, source = start(model, concurrency=1)
    unneeded, later = job(), job(4)
    source.batches.put([unneeded])
    source.batches.put([later])
    model.wait_begun()
    match how:
        case "cancelled":
            unneeded.pending = False
        case "expired":
            unneeded.settled = True
        case _:
            unneeded.dropped = True
    assert unneeded.on_cancel is not None
    unneeded.on_cancel()
    assert str(source.next()[0]) == "Cancelled"
    assert model.cancelled.get(timeout=WAIT_S) == "voxgate-infer-loop"
    assert unneeded.on_cancel is None
    event = model.wait_begun()  # Its place is free.
    assert later.on_cancel is not None
    later.on_cancel()  # It is needed: nothing happens.
    model.release(event)
    assert source.next() == [{"count": 4}]
    assert engine.counts().inference_errors == 1


def test_a_call_that_nobody_needs_any_more_does_not_begin(start: Started) -> None:
    model = Held()
    _, source = start(model)
    gone = job()
    gone.pending = False
    assert str(source.run(gone)[0]) == "Cancelled"
    assert model.began.empty()


def test_a_batch_goes_on_as_long_as_one_of_its_jobs_is_needed(start: Started) -> None:
    began: queue.SimpleQueue[None] = queue.SimpleQueue()

    class Waiting(BatchCounter):
        async def infer_batch(self, batch: Batch) -> Any:  # type: ignore[override]
            began.put(None)
            await asyncio.Event().wait()

    _, source = start(Waiting())
    jobs = [job(1), job(2)]
    source.batches.put(jobs)
    began.get(timeout=WAIT_S)
    jobs[0].pending = False
    assert jobs[0].on_cancel is not None
    jobs[0].on_cancel()
    assert source.finished.empty()
    jobs[1].pending = False
    jobs[0].on_cancel()
    assert [str(outcome) for outcome in source.next()] == ["Cancelled"] * 2


def test_a_call_that_swallows_its_cancellation_keeps_its_place(start: Started) -> None:
    model = Held()
    model.stubborn = True
    engine, source = start(model, concurrency=1)
    unneeded = job()
    source.batches.put([unneeded])
    source.batches.put([job(4)])
    event = model.wait_begun()
    unneeded.pending = False
    assert unneeded.on_cancel is not None
    unneeded.on_cancel()
    model.cancelled.get(timeout=WAIT_S)
    assert engine.stalled_s > 0
    assert model.began.empty()
    model.release(event)
    assert source.next() == [{"count": 3}]
    model.release(model.wait_begun())
    assert source.next() == [{"count": 4}]


# --- interim results ---


def test_yielded_values_are_interim_results_and_the_last_one_is_the_result(start: Started) -> None:
    class Words(Model):
        async def infer(self, audio: np.ndarray) -> Any:
            for n in range(3):
                await asyncio.sleep(0)
                yield None if n == 1 else {"n": n}

    _, source = start(Words())
    asks = job(on_partial=lambda job, output: None)
    assert source.run(asks) == [{"n": 2}]
    assert [source.partials.get(timeout=WAIT_S) for _ in range(2)] == [(asks, {"n": 0}), (asks, {"n": 2})]
    assert source.run(job()) == [{"n": 2}]
    assert source.partials.empty()


def test_an_async_generator_that_nobody_needs_is_closed(start: Started) -> None:
    ended: queue.SimpleQueue[type[BaseException] | None] = queue.SimpleQueue()

    class Words(Model):
        async def infer(self, audio: np.ndarray) -> Any:
            try:
                while True:
                    yield {}
                    await asyncio.sleep(0)
            except BaseException as error:
                ended.put(type(error))
                raise

    _, source = start(Words())
    unneeded = job(on_partial=lambda job, output: None)
    source.batches.put([unneeded])
    source.partials.get(timeout=WAIT_S)
    unneeded.dropped = True
    assert str(source.next()[0]) == "Cancelled"
    assert ended.get(timeout=WAIT_S) is GeneratorExit


# --- state ---


def test_states_are_opened_stepped_and_finished(start: Started) -> None:
    class Sum(Model):
        async def open(self) -> list[int]:  # type: ignore[override]
            return []

        async def step(self, audio: np.ndarray, state: list[int]) -> Any:  # type: ignore[override]
            state.append(len(audio))
            return None

        def finish(self, state: list[int]) -> Any:
            return {"steps": state}

    _, source = start(Sum())
    state = State()
    assert source.run(job(2, method="step", state=state)) == [None]
    assert source.run(job(3, method="step", state=state)) == [None]
    assert source.run(job(0, method="finish", state=state)) == [{"steps": [2, 3]}]


# --- its beginning and its end ---


def test_the_model_is_warmed_up_and_tried_on_the_loop_before_it_serves() -> None:
    calls: list[tuple[str, str]] = []

    class Recorder(BatchCounter):
        async def warm_up(self) -> None:  # type: ignore[override]
            calls.append(("warm_up", threading.current_thread().name))

        async def infer(self, audio: np.ndarray) -> Any:
            calls.append((f"infer {len(audio)}", threading.current_thread().name))
            return {"text": "a"}

        async def infer_batch(self, batch: Batch) -> Any:  # type: ignore[override]
            calls.append((f"infer_batch {len(batch)}", threading.current_thread().name))
            return ["a", "b"]

    model = Recorder()
    engine = AsyncEngine(model)
    assert engine.warm_up() > 0
    on_loop = "voxgate-infer-loop"
    assert calls == [("warm_up", on_loop), ("infer 16000", on_loop), ("infer_batch 2", on_loop)]
    assert engine.gives_text is True
    assert engine.counts().batches == 0
    assert engine.stop(WAIT_S)
    assert model.closed == 1


def test_a_warm_up_that_fails_ends_the_start() -> None:
    class Broken(Counter):
        async def warm_up(self) -> None:  # type: ignore[override]
            raise OSError("no server at localhost:1")

    engine = AsyncEngine(Broken())
    with pytest.raises(ModelLoadError, match="warm-up of model 'Broken' failed: OSError: no server at localhost:1"):
        engine.warm_up()
    assert engine.stop(WAIT_S)


def test_stop_waits_for_running_calls_and_closes_the_model() -> None:
    model = Held()
    engine, source = AsyncEngine(model), Source()
    engine.start(source)
    source.batches.put([job()])
    event = model.wait_begun()
    source.batches.put([])
    stopped: queue.SimpleQueue[bool] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: stopped.put(engine.stop(WAIT_S)))
    thread.start()
    assert stopped.empty()
    model.release(event)
    assert stopped.get(timeout=WAIT_S) is True
    thread.join()
    assert source.next() == [{"count": 3}]
    assert not engine.ready


def test_stop_leaves_calls_behind_that_do_not_end(caplog: pytest.LogCaptureFixture) -> None:
    model = Held()
    model.stubborn = True
    engine, source = AsyncEngine(model, concurrency=1), Source()
    engine.start(source)
    source.batches.put([job()])
    source.batches.put([])
    event = model.wait_begun()
    assert not engine.stop(0.01)
    assert "1 call of model 'Held' is still running: leaving it behind" in caplog.text
    assert model.cancelled.get(timeout=WAIT_S)
    model.release(event)
    assert source.next() == [{"count": 3}]
    assert engine.stop(WAIT_S)


def test_a_coroutine_that_blocks_the_loop_is_reported(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    go_on, began = threading.Event(), threading.Event()

    class Blocking(Model):
        async def infer(self, audio: np.ndarray) -> Any:
            began.set()
            the_line_that_blocks(go_on)
            return {}

    def the_line_that_blocks(event: threading.Event) -> None:
        event.wait()

    engine, source = start(Blocking())
    source.batches.put([job()])
    assert began.wait(WAIT_S)
    until_s = time.monotonic() + WAIT_S
    with caplog.at_level(logging.WARNING):
        while "the_line_that_blocks" not in caplog.text and time.monotonic() < until_s:
            time.sleep(0.01)
    assert "the event loop of model 'Blocking' has been held for" in caplog.text
    assert "the_line_that_blocks" in caplog.text
    assert engine.stalled_s > 0  # Though there are 63 places left.
    go_on.set()
    assert source.next() == [{}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concurrency": 0}, r"inference.concurrency must be within 1\.\.65536, not 0"),
        ({"max_batch_size": 0}, "inference.max_batch_size must be at least 1, not 0"),
    ],
)
def test_bad_numbers_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AsyncEngine(Counter(), **arguments)


def test_a_model_of_plain_functions_is_refused() -> None:
    class Plain(Model):
        def infer(self, audio: np.ndarray) -> Any:
            return {}

    with pytest.raises(ConfigError, match=r"model 'Plain' defines plain functions, .* expected async def"):
        AsyncEngine(Plain())


@pytest.mark.parametrize(("threads", "expected"), [(None, 64), (3, 3), (100, 64)])
def test_concurrency(threads: int | None, expected: int) -> None:
    model = Counter()
    model.threads = threads
    assert AsyncEngine(model).concurrency == expected


def test_uvloop_runs_the_coroutines(start: Started) -> None:
    class Which(Model):
        async def infer(self, audio: np.ndarray) -> Any:
            return {"loop": type(asyncio.get_running_loop()).__module__}

    _, source = start(Which())
    assert source.run(job()) == [{"loop": "uvloop" if "uvloop" in sys.modules else "asyncio.unix_events"}]
