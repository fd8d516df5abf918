"""Ctrl-C and SIGTERM end a coroutine between two callbacks of the loop, first cleanly, then by force."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from voxgate.cli.interrupts import Interrupted, Interrupts, run_interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """The handlers of an interactive program, which ignores no signal."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_interrupt_in_the_middle_of_a_callback_breaks_nothing(loop_factory: Any) -> None:
    errors: list[dict[str, Any]] = []
    seen: list[str] = []

    async def main(_: Interrupts) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        connected = loop.create_future()

        def answer() -> None:  # as asyncio does when a socket is connected
            if not connected.done():
                signal.raise_signal(signal.SIGINT)
                connected.set_result(None)
                seen.append("answered")

        loop.call_soon(answer)
        try:
            await connected
            seen.append("went on")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(main, loop_factory)
    assert errors == []
    assert (seen[0], seen[-1]) == ("answered", "cancelled")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_cancels_and_the_exit_code_names_it(number: signal.Signals) -> None:
    async def main(interrupts: Interrupts) -> None:
        signal.raise_signal(number)
        await asyncio.Event().wait()

    with pytest.raises(Interrupted) as caught:
        run_interruptible(main)
    assert caught.value.exit_code == 128 + number


def test_a_second_signal_does_not_wait_for_the_loop() -> None:
    async def main(_: Interrupts) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("went on")

    with pytest.raises(Interrupted) as caught:
        run_interruptible(main)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_with_a_stop_function_the_first_signal_calls_it_and_the_second_cancels() -> None:
    stops: list[int] = []
    seen: list[str] = []

    async def main(interrupts: Interrupts) -> int:
        stopped = asyncio.Event()

        def stop(number: int) -> bool:
            stops.append(number)
            stopped.set()
            return True

        with interrupts.stopping(stop):
            signal.raise_signal(signal.SIGINT)
            await stopped.wait()
            seen.append("stopped")
            try:
                signal.raise_signal(signal.SIGTERM)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
        await asyncio.sleep(0)  # the task goes on
        assert interrupts.has_cancelled
        assert interrupts.number is not None
        return interrupts.number

    assert run_interruptible(main) == signal.SIGTERM
    assert (stops, seen) == ([signal.SIGINT], ["stopped", "cancelled"])


def test_a_third_signal_does_not_wait_for_the_loop() -> None:
    async def main(interrupts: Interrupts) -> None:
        with interrupts.stopping(lambda _: True):
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("went on")

    with pytest.raises(Interrupted):
        run_interruptible(main)


def test_a_stop_function_that_returns_false_cancels() -> None:
    async def main(interrupts: Interrupts) -> None:
        with interrupts.stopping(lambda _: False):
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(Interrupted):
        run_interruptible(main)


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main(interrupts: Interrupts) -> int | None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        return interrupts.number

    assert run_interruptible(main) is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_without_a_signal_it_is_asyncio_run() -> None:
    async def main(_: Interrupts) -> int:
        return 7

    async def cancelled(_: Interrupts) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    assert run_interruptible(main) == 7
    with pytest.raises(asyncio.CancelledError):
        run_interruptible(cancelled)
