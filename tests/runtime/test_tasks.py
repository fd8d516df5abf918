from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator

import pytest

from voxgate.runtime import tasks
from voxgate.runtime.tasks import TaskCounts, counts, run_in_thread, spawn_task, spawn_thread


@pytest.fixture(autouse=True)
def fresh_counters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tasks, "_counts", {})
    yield
    assert not tasks._tasks


def test_a_task_is_named_returns_its_result_and_is_counted() -> None:
    async def work() -> str:
        task = asyncio.current_task()
        assert task is not None
        assert counts()["here"] == TaskCounts(started=1)
        assert counts()["here"].running == 1
        return task.get_name()

    async def main() -> str:
        return await spawn_task(work(), "the-name", "here")

    assert asyncio.run(main()) == "the-name"
    assert counts() == {"here": TaskCounts(started=1, finished=1)}
    assert counts()["here"].running == 0


def test_a_task_nobody_holds_is_not_collected() -> None:
    async def main() -> None:
        held: list[weakref.ref[asyncio.Future[None]]] = []

        async def work() -> None:
            future = (
                asyncio.get_running_loop().create_future()
            )  # Nobody but this frame knows it, nor it anybody but the task.
            held.append(weakref.ref(future))
            await future

        spawn_task(work(), "unheld", "here")
        await asyncio.sleep(0)
        gc.collect()
        future = held[0]()
        assert future is not None
        future.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert counts()["here"].finished == 1

    asyncio.run(main())


def test_a_failed_task_is_logged_with_its_stack_and_counted(unhurried: None, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise ValueError("no such thing")

    async def main() -> None:
        task = spawn_task(broken(), "breaks", "here")
        with pytest.raises(ValueError, match="no such thing"):
            await task

    asyncio.run(main())
    assert counts()["here"] == TaskCounts(started=1, failed=1)
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (
        "voxgate.runtime.tasks",
        logging.ERROR,
        "task breaks (here) failed",
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_the_failure_of_a_task_nobody_awaits_is_seen(unhurried: None, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise ValueError

    async def main() -> None:
        spawn_task(broken(), "breaks", "here")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert counts()["here"].failed == 1
    assert len(caplog.records) == 1


def test_cancellation_is_counted_and_not_logged(unhurried: None, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        task = spawn_task(asyncio.Event().wait(), "waits", "here")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert counts()["here"] == TaskCounts(started=1, cancelled=1)
    assert not caplog.records


def test_without_a_loop_the_coroutine_is_closed_and_nothing_is_counted() -> None:
    async def work() -> None:
        raise AssertionError("never runs")

    with pytest.raises(RuntimeError, match="no running event loop"):
        spawn_task(work(), "x", "here")
    assert counts() == {}


@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_is_named_and_counted(daemon: bool) -> None:
    seen: list[str] = []
    thread = spawn_thread(lambda: seen.append(threading.current_thread().name), "voxgate-x", daemon, "here")
    thread.join()
    assert seen == ["voxgate-x"]
    assert thread.daemon is daemon
    assert counts()["here"] == TaskCounts(started=1, finished=1)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3)])
def test_a_failed_thread_is_logged_and_counted(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise error

    spawn_thread(broken, "voxgate-x", subsystem="here").join()
    assert counts()["here"] == TaskCounts(started=1, failed=1)
    (record,) = caplog.records
    assert record.getMessage() == "thread voxgate-x (here) failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_thread_that_cannot_start_is_counted_and_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        spawn_thread(lambda: None, "voxgate-x", subsystem="here")
    assert counts()["here"] == TaskCounts(started=1, failed=1)


def test_run_in_thread_returns_what_the_function_returns_while_the_loop_goes_on() -> None:
    async def main() -> tuple[str, bool]:
        gate = threading.Event()
        waiting = asyncio.ensure_future(
            run_in_thread(lambda: gate.wait() and threading.current_thread().name, "w", "here")
        )
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(gate.set)  # Only a loop that runs opens the gate.
        name = await waiting
        return str(name), gate.is_set()

    assert asyncio.run(main()) == ("w", True)
    assert counts()["here"].started == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("bad"), ValueError), (StopIteration(), RuntimeError), (SystemExit(1), RuntimeError)],
)
def test_run_in_thread_raises_what_the_function_raises(
    error: BaseException, expected: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise error

    async def main() -> None:
        await run_in_thread(broken, "w", "here")

    with pytest.raises(expected) as caught:
        asyncio.run(main())
    assert error in (caught.value, caught.value.__cause__)
    assert not caplog.records  # It has been told already to who awaited it.


def test_run_in_thread_cancelled_drops_the_outcome() -> None:
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        gate.wait()
        ended.set()

    async def main() -> None:
        waiting = asyncio.ensure_future(run_in_thread(work, "w", "here"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        while not ended.is_set():
            await asyncio.sleep(0)

    asyncio.run(main())


def test_run_in_thread_survives_a_loop_that_is_gone() -> None:
    gate = threading.Event()
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        gate.wait()

    async def main() -> None:
        waiting = asyncio.ensure_future(run_in_thread(work, "w", "here"))
        await asyncio.sleep(0)
        while not threads:
            await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(main())
    gate.set()
    threads[0].join()
    assert counts()["here"] == TaskCounts(started=1, finished=1)


def test_counts_is_a_snapshot() -> None:
    before = counts()
    spawn_thread(lambda: None, "x", subsystem="here").join()
    assert before == {}
    with pytest.raises(TypeError):
        before["x"] = TaskCounts()  # type: ignore[index]


def test_steps_of_a_task_are_timed_and_its_coroutine_is_what_asyncio_shows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Created; a first step of 250 ms, and the clock for the log's sake; a second one of 10 ms.
    clock = iter([0.0, 2.0, 2.25, 2.25, 10.0, 10.01])
    monkeypatch.setattr(tasks, "_times", {})
    monkeypatch.setattr(tasks, "perf_counter", lambda: next(clock))

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def main() -> None:
        task = spawn_task(work(), "a-task", "here")
        assert "work" in repr(task)
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["work"]
        assert await task == "done"

    asyncio.run(main())
    times = tasks.times()["here"]
    assert (times.start_delay_s.count, times.start_delay_s.total) == (1, 2.0)
    assert (times.step_s.count, times.step_s.total) == (2, pytest.approx(0.26))
    assert times.n_slow == 1
    assert "a step of task a-task (here) held the event loop for 250 ms" in caplog.text


def test_a_slow_task_is_named_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 159.0, 160.0])
    monkeypatch.setattr(tasks, "perf_counter", lambda: next(clock))
    times = tasks.TaskTimes("here")
    for _ in range(4):
        times.slow("a-task", 0.1)
    assert times.n_slow == 4
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


@pytest.mark.parametrize("subsystem", ["client", "engine-once"])
def test_a_slow_task_that_delays_no_stream_is_no_warning(caplog: pytest.LogCaptureFixture, subsystem: str) -> None:
    caplog.set_level(logging.INFO)
    times = tasks.TaskTimes(subsystem)
    times.slow("a-task", 0.1)
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_what_is_thrown_into_a_task_reaches_its_coroutine() -> None:
    async def work() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "cleaned up"
        raise AssertionError("not cancelled")

    async def main() -> str:
        task = spawn_task(work(), "a-task", "here")
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "cleaned up"
