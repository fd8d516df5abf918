"""Ctrl-C ends a coroutine between two callbacks of the loop, wherever it comes."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
import uvloop

from voxgate.cli.interrupt import run_interruptible


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_interrupt_in_the_middle_of_a_callback_breaks_nothing(loop_factory: Any) -> None:
    errors: list[dict[str, Any]] = []
    seen: list[str] = []

    async def main() -> None:
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
        run_interruptible(main(), loop_factory)
    assert errors == []
    assert (seen[0], seen[-1]) == ("answered", "cancelled")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_does_not_wait_for_the_loop() -> None:
    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("went on")

    with pytest.raises(KeyboardInterrupt):
        run_interruptible(main())


def test_without_an_interrupt_it_is_asyncio_run() -> None:
    async def main() -> int:
        return 7

    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    assert run_interruptible(main()) == 7
    with pytest.raises(asyncio.CancelledError):
        run_interruptible(cancelled())
