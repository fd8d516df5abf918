"""The audio of a source, in order, and from an earlier position again after a lost connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from voxgate.runtime import tasks

from .source import off_loop

__all__ = ["Feed"]


class Feed:
    """Returns the blocks of a source one by one, and again from an earlier position after `rewind`.

    Positions are bytes since the beginning. The last `keep_bytes` of the returned audio are kept for rewinding, none
    with 0. One caller at a time, in the thread of the loop; a caller that is cancelled in `next` loses no audio.
    """

    def __init__(
        self, blocks: Iterator[bytes | memoryview] | AsyncIterator[bytes | memoryview], keep_bytes: int
    ) -> None:
        self._blocks = off_loop(blocks) if isinstance(blocks, Iterator) else blocks
        self._keep_bytes = keep_bytes
        self._kept: deque[memoryview] = deque()  # contiguous, the last one ends at end_bytes
        self._kept_bytes = 0
        self._again: deque[memoryview] = deque()
        self.end_bytes = 0
        """The bytes that the source has produced."""
        self._ended = False
        self._stopped: asyncio.Future[None] | None = None  # done after a `stop` while `next` waits
        self._pull: asyncio.Task[tuple[bytes | memoryview | None, Exception | None]] | None = None

    @property
    def oldest_bytes(self) -> int:
        """The earliest position that `rewind` can go back to."""
        return self.end_bytes - self._kept_bytes

    async def next(self) -> memoryview | None:
        """The next block, None at the end. Raises what the source raises."""
        if self._again:
            return self._again.popleft()
        if self._ended:
            return None
        if self._pull is None:
            self._pull = tasks.spawn_task(self._take(), "voxgate-client-source", "client")
        self._stopped = asyncio.get_running_loop().create_future()
        # Cancelling this wait does not cancel the pull.
        await asyncio.wait((self._pull, self._stopped), return_when=asyncio.FIRST_COMPLETED)
        self._stopped = None
        if not self._pull.done():
            return None  # stopped
        block, failure = self._pull.result()
        self._pull = None
        if failure is not None:
            raise failure
        if block is None:
            self._ended = True
            return None
        view = memoryview(block).cast("B")
        self.end_bytes += len(view)
        if self._keep_bytes:
            view = view if view.readonly else memoryview(bytes(view))  # the source may reuse its buffer
            self._kept.append(view)
            self._kept_bytes += len(view)
            while self._kept_bytes - len(self._kept[0]) >= self._keep_bytes:
                self._drop_oldest()
        return view

    def stop(self) -> None:
        """Ends the source: a waiting `next` returns None, and only `rewind` makes audio available again.

        In the thread of the loop.
        """
        self._ended = True
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    async def _take(self) -> tuple[bytes | memoryview | None, Exception | None]:
        try:
            return await anext(self._blocks, None), None
        except Exception as error:  # raised by `next`, not logged as a failed task
            return None, error

    def rewind(self, position_bytes: int) -> None:
        """The next block begins at `position_bytes`, between `oldest_bytes` and `end_bytes`; ValueError otherwise."""
        if not self.oldest_bytes <= position_bytes <= self.end_bytes:
            raise ValueError(f"position: expected {self.oldest_bytes}..{self.end_bytes}, got {position_bytes}")
        self._again = deque(self._kept)
        skip_bytes = position_bytes - self.oldest_bytes
        while self._again and skip_bytes >= len(self._again[0]):
            skip_bytes -= len(self._again.popleft())
        if skip_bytes:
            self._again[0] = self._again[0][skip_bytes:]

    def forget(self, position_bytes: int) -> None:
        """Drops kept audio before `position_bytes`."""
        while self._kept and self.oldest_bytes + len(self._kept[0]) <= position_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._kept_bytes -= len(self._kept.popleft())

    async def aclose(self) -> None:
        """Closes the source. Does not wait for a thread that is blocked in a read."""
        if self._pull is not None:
            self._pull.cancel()
            await asyncio.wait((self._pull,))
        if isinstance(self._blocks, AsyncGenerator):
            await self._blocks.aclose()
