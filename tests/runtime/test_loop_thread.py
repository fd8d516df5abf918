"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from voxgate.runtime import tasks
from voxgate.runtime.loop_thread import LoopThread

WAIT_S = 30


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    made = LoopThread("voxgate-test-loop", "test")
    yield made
    assert made.stop(WAIT_S)
    assert made.stop(WAIT_S)
    assert not made.is_alive


async def name_after(*errors: BaseException) -> str:
    await asyncio.sleep(0)
    for error in errors:
        raise error
    return threading.current_thread().name


def test_coroutines_run_on_it_and_their_results_come_back(thread: LoopThread) -> None:
    assert thread.run(name_after(), "one") == "voxgate-test-loop"
    assert thread.loop.is_running()
    assert not thread.is_current


@pytest.mark.parametrize(
    "error", [ValueError(), SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()], ids=lambda e: type(e).__name__
)
def test_what_a_coroutine_raises_comes_back_and_the_loop_runs_on(thread: LoopThread, error: BaseException) -> None:
    with pytest.raises(type(error)):
        thread.run(name_after(error), "one")
    assert thread.run(name_after(), "two") == "voxgate-test-loop"


def test_a_callback_that_exits_does_not_end_it(thread: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    def exits() -> None:
        raise SystemExit

    thread.loop.call_soon_threadsafe(exits)
    assert thread.run(name_after(), "one") == "voxgate-test-loop"
    assert "a callback on the event loop of thread voxgate-test-loop ended with an exception" in caplog.text


def test_what_still_runs_is_cancelled_at_the_end() -> None:
    thread = LoopThread("voxgate-test-loop", "test")
    ended: list[type[BaseException]] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(type(error))
            raise

    async def begin() -> asyncio.Task[None]:
        task = asyncio.ensure_future(for_ever())
        await asyncio.sleep(0)
        return task

    task = thread.run(begin(), "one")
    assert thread.stop(WAIT_S)
    assert ended == [asyncio.CancelledError]
    assert task.cancelled()
    assert thread.loop.is_closed()


def test_a_callback_that_blocks_keeps_it_from_ending() -> None:
    thread, go_on = LoopThread("voxgate-test-loop", "test"), threading.Event()
    thread.loop.call_soon_threadsafe(go_on.wait)
    assert not thread.stop(0.01)
    go_on.set()
    assert thread.stop(WAIT_S)


def test_what_it_waits_for_is_counted_apart(thread: LoopThread) -> None:
    """A warm-up may hold the loop for long, before anybody uses it."""
    assert thread.run(name_after(), "once") == "voxgate-test-loop"
    assert tasks.counts()["test-once"].started > 0
    assert "test" not in tasks.times()
