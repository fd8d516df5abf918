"""Ctrl-C and SIGTERM: the first one stops the work cleanly, further ones are increasingly forceful."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Final, TypeVar

__all__ = ["Interrupted", "Interrupts", "run_interruptible"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work before its end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class Interrupts:
    """The signals that a running task has received. Made by `run_interruptible`; belongs to the main thread.

    The first signal calls the stop function of `stopping`. Without such a function, or when it returns False, the first
    signal cancels the task, as the second one does. The next one raises Interrupted immediately, even when the loop is
    stuck in a callback, and any later one kills the process.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The last signal received."""
        self.has_cancelled = False
        """Whether a signal has cancelled the task."""
        self._stop: Callable[[int], bool] | None = None
        self._n_graceful = 1  # signals that leave the decision to the loop
        self._n_received = 0

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[int], bool]) -> Iterator[None]:
        """Inside the block, the first signal calls `stop` with its number in the loop; False cancels the task instead.

        A task that a signal has cancelled can go on after the block once it has caught the CancelledError.
        """
        self._stop, self._n_graceful = stop, 2
        try:
            yield
        finally:
            self._stop = None
            if self.has_cancelled:
                self._task.uncancel()

    @contextlib.contextmanager
    def _handling(self) -> Iterator[None]:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # not the main thread
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        try:
            yield
        finally:
            for changed, handler in self._before.items():
                signal.signal(changed, handler)

    # Handlers of the loop itself would wait as well while the loop waits for a reader of the output.
    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._n_received += 1
        if self._n_received > self._n_graceful:
            for each in self._before:
                signal.signal(each, signal.SIG_DFL)
            raise Interrupted(number)
        # `asyncio.run` cancels inside of the signal handler, in the middle of whatever the loop is doing. A callback
        # that has just seen that its future is not done would then set the result of a cancelled one.
        self._loop.call_soon_threadsafe(self._act, number, self._n_received)

    def _act(self, number: int, n_received: int) -> None:
        if n_received == 1 and self._stop is not None and self._stop(number):
            return
        if not self.has_cancelled:
            self.has_cancelled = True
            self._task.cancel()


def run_interruptible(
    main: Callable[[Interrupts], Coroutine[Any, Any, T]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Runs the coroutine that `main` returns, as `asyncio.run` does, and returns its result.

    Raises Interrupted when a signal ended it. A signal that the process ignores stays ignored. Outside of the main
    thread, no signal is handled.
    """
    interrupts = Interrupts()

    async def interruptible() -> T:
        with interrupts._handling():
            return await main(interrupts)

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(interruptible())
    except asyncio.CancelledError:
        if interrupts.has_cancelled:
            assert interrupts.number is not None
            raise Interrupted(interrupts.number) from None
        raise
