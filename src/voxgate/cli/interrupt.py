"""Running a coroutine that Ctrl-C ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

__all__ = ["run_interruptible"]

T = TypeVar("T")


def run_interruptible(
    coro: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> T:
    """As `asyncio.run`; of the main thread. Raises KeyboardInterrupt after Ctrl-C.

    `asyncio.run` cancels inside of the signal handler, in the middle of whatever the loop is doing. A callback that has
    just seen that its future is not done then sets the result of a cancelled one, and the loop reports an
    InvalidStateError. Here the first Ctrl-C cancels between two callbacks. A second one does not wait for the loop.
    """
    n_interrupts = 0

    async def interruptible() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(number: int, frame: FrameType | None) -> None:
            nonlocal n_interrupts
            n_interrupts += 1
            if n_interrupts > 1:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(task.cancel)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            return await coro
        finally:
            if signal.getsignal(signal.SIGINT) is interrupt:
                signal.signal(signal.SIGINT, before)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(interruptible())
    except asyncio.CancelledError:
        if n_interrupts:
            raise KeyboardInterrupt from None
        raise
