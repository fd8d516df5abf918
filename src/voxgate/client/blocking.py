"""The blocking interface of the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar, Unpack

from voxgate.protocol.events import Event
from voxgate.runtime import tasks

from .errors import ClientError
from .options import Options
from .session import stream
from .source import Source

__all__ = ["collect", "stream_blocking"]

T = TypeVar("T")


class _LoopThread:
    """An event loop in its own thread, so that sending continues while the caller handles an event."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = tasks.spawn_thread(self._loop.run_forever, "voxgate-client", daemon=True, subsystem="client")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self, events: AsyncGenerator[Event, None]) -> None:
        async def wind_down() -> None:
            # After a KeyboardInterrupt, the step that the caller waited for is still running.
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await events.aclose()

        self.run(wind_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def stream_blocking(source: Source, **options: Unpack[Options]) -> Generator[Event, None, None]:
    """The blocking twin of `stream`: the same arguments, events and exceptions, for a plain `for` loop.

    Works in any thread, even one with a running event loop. Sending continues in a background thread between events.
    """
    return _blocking_events(aiter(stream(source, **options)))


def _blocking_events(events: AsyncGenerator[Event, None]) -> Generator[Event, None, None]:
    async def next_event() -> Event | None:
        return await anext(events, None)

    thread = _LoopThread()
    try:
        while (event := thread.run(next_event())) is not None:
            yield event
    finally:
        thread.close(events)


def collect(source: Source, **options: Unpack[Options]) -> list[Event]:
    """All events of a stream as a list; blocks until the end of the stream. The same arguments as `stream`.

    A ClientError carries all events before it (`error.events`).
    """
    events: list[Event] = []
    try:
        for event in stream_blocking(source, **options):
            events.append(event)
    except ClientError as error:
        error.events = tuple(events)
        raise
    return events
