"""What it costs to run a model elsewhere: a call's way from the event loop to one worker and back, for each engine.

Every opponent is used as a server would: audio that is in the hands of the loop, one worker, the result back on the
loop. The model only counts samples, so that what is measured is the way. The pools pickle the audio; the worker
processes of voxgate find it in shared memory, and add deadlines, fairness and batches, which the executors do not have.

pebble is measured when it is installed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from helpers.worker_models import count
from voxgate.inference.engine.base import Engine, Job
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.inference.scheduler import Scheduler
from voxgate.models import FunctionModel

RATE = 16_000
CALLS = [(1, 1), (10, 1), (1, 64)]  # seconds of audio of one call, calls at once
Benchmark = Callable[..., Any]
Call = Callable[[np.ndarray], "asyncio.Future[Any]"]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.get_loop()


@contextmanager
def scheduled(loop: asyncio.AbstractEventLoop, engine: Engine) -> Iterator[Call]:
    scheduler = Scheduler(engine, loop)
    scheduler.start()
    loop.run_until_complete(scheduler.warm_up())

    def call(audio: np.ndarray) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = loop.create_future()
        scheduler.submit(Job(audio, RATE, True, loop, lambda job: done.set_result(job.result)))
        return done

    yield call
    scheduler.close()
    assert loop.run_until_complete(scheduler.wait_closed(30))


def run(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, call: Call, seconds: int, n_calls: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, seconds * RATE).astype(np.float32)

    async def calls() -> Any:
        return await asyncio.gather(*[call(audio) for _ in range(n_calls)])

    benchmark.group = f"engine: {n_calls} call{'s at once' if n_calls > 1 else ''}, {seconds} s of audio"
    assert loop.run_until_complete(calls())[0] == {"count": len(audio)}
    benchmark(lambda: loop.run_until_complete(calls()))


@pytest.mark.parametrize(("seconds", "n_calls"), CALLS)
def test_voxgate_threads(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, seconds: int, n_calls: int) -> None:
    with scheduled(loop, ThreadEngine(FunctionModel(count), threads=1)) as call:
        run(benchmark, loop, call, seconds, n_calls)


@pytest.mark.parametrize(("seconds", "n_calls"), CALLS)
def test_voxgate_processes(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, seconds: int, n_calls: int) -> None:
    engine = ProcessEngine(ProcessSettings("helpers.worker_models:count", processes=1))
    engine.load()
    with scheduled(loop, engine) as call:
        run(benchmark, loop, call, seconds, n_calls)


@pytest.mark.parametrize(("seconds", "n_calls"), CALLS)
def test_thread_pool_executor(
    benchmark: Benchmark, loop: asyncio.AbstractEventLoop, seconds: int, n_calls: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        run(benchmark, loop, lambda audio: loop.run_in_executor(pool, count, audio), seconds, n_calls)


@pytest.mark.parametrize(("seconds", "n_calls"), CALLS)
def test_process_pool_executor(
    benchmark: Benchmark, loop: asyncio.AbstractEventLoop, seconds: int, n_calls: int
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        run(benchmark, loop, lambda audio: loop.run_in_executor(pool, count, audio), seconds, n_calls)


@pytest.mark.parametrize(("seconds", "n_calls"), CALLS)
def test_pebble(benchmark: Benchmark, loop: asyncio.AbstractEventLoop, seconds: int, n_calls: int) -> None:
    pebble = pytest.importorskip("pebble", reason="the opponent")
    with pebble.ProcessPool(1, context=multiprocessing.get_context("spawn")) as pool:

        def call(audio: np.ndarray) -> asyncio.Future[Any]:
            return asyncio.wrap_future(pool.schedule(count, args=(audio,), timeout=60), loop=loop)

        run(benchmark, loop, call, seconds, n_calls)
