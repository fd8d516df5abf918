"""The other server processes of one port, for what only all of them together can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from voxgate.runtime import tasks

# A process that does not answer in this time is busy or gone; the others are told of all the same.
ANSWER_S = 1.0


class Peers:
    """Every process has a Unix socket of its own in `directory`, named by its number of 0..n-1, on which it tells
    whoever connects what `tell` says at that moment. The directory is nobody else's.
    """

    def __init__(self, directory: Path, number: int, n_processes: int, tell: Callable[[], str]) -> None:
        self._directory = directory
        self._number = number
        self._others = [other for other in range(n_processes) if other != number]
        self._tell = tell
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        path = self._directory / str(self._number)
        path.unlink(missing_ok=True)  # of the process that was here before
        self._server = await asyncio.start_unix_server(self._answer, path)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def fetch(self) -> list[str]:
        """What the others say; those that do not answer in time are left out."""
        asking = [tasks.spawn_task(self._ask(other), "peer-fetch", "serving") for other in self._others]
        told = [await task for task in asking]
        return [text for text in told if text is not None]

    async def _ask(self, number: int) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._directory / str(number))
                try:
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self._tell().encode())
            await writer.drain()
        writer.close()
