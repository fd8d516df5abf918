"""An event loop on a thread of its own, for code that is not ours."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any

from voxgate.runtime.tasks import spawn_task, spawn_thread

__all__ = ["LoopThread"]

logger = logging.getLogger("voxgate.runtime.loop_thread")

_CLEAN_UP_S = 1.0
"""How long tasks that were left on the loop may take to end."""


class LoopThread:
    """Runs an event loop (uvloop's where it is installed) until `stop`, whatever the callbacks on it raise: also
    SystemExit, which ends an ordinary loop. The thread is a daemon.
    """

    def __init__(self, name: str, subsystem: str) -> None:
        """Starts the thread."""
        self.loop = _new_loop()
        self._name = name
        self._subsystem = subsystem
        self._stopping = False
        self._thread = spawn_thread(self._run, name, daemon=True, subsystem=subsystem)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def run(self, coro: Coroutine[Any, Any, Any], name: str) -> Any:
        """Runs a coroutine on the loop, and waits for its end. Any other thread. Returns or raises what it did, also
        SystemExit and CancelledError.
        """
        ended = threading.Event()
        found: list[Any] = []
        failed: list[BaseException] = []

        async def guarded() -> None:
            try:
                found.append(await coro)
            except BaseException as error:
                failed.append(error)
            finally:
                ended.set()

        self.loop.call_soon_threadsafe(lambda: spawn_task(guarded(), name, f"{self._subsystem}-once"))
        ended.wait()
        if failed:
            raise failed[0]
        return found[0]

    def stop(self, timeout_s: float | None = None) -> bool:
        """Cancels what still runs on the loop and ends the thread. False: it had not ended after `timeout_s`, because
        a callback blocks. A second call does nothing.
        """
        if not self._stopping:
            self._stopping = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        try:
            while not self._stopping:
                try:
                    loop.run_forever()
                except BaseException:
                    logger.exception("a callback on the event loop of thread %s ended with an exception", self._name)
            self._clean_up()
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _clean_up(self) -> None:
        loop = self.loop
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_CLEAN_UP_S))
            loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), _CLEAN_UP_S))
        except BaseException:
            logger.exception("the tasks that were left on the event loop of thread %s could not be ended", self._name)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
