"""The exchange of snapshots among the server processes of one port, so that each of them can answer for all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from voxgate.runtime import tasks

# A process that does not answer in this time is busy or gone, and is left out.
ANSWER_S = 1.0


class Peers:
    """Every process has a Unix socket in `directory`, named by its number (0 to n_processes - 1). To every connection
    it sends the result of `snapshot` at that moment. Only these processes can access the directory.
    """

    def __init__(self, directory: Path, number: int, n_processes: int, snapshot: Callable[[], str]) -> None:
        self._directory = directory
        self._number = number
        self._others = [other for other in range(n_processes) if other != number]
        self._snapshot = snapshot
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        path = self._directory / str(self._number)
        path.unlink(missing_ok=True)  # of the process that this one replaces
        self._server = await asyncio.start_unix_server(self._answer, path)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def fetch(self) -> list[str]:
        """The snapshots of the other processes; those that do not answer in time are left out."""
        fetching = [tasks.spawn_task(self._fetch(other), "peer-fetch", "serving") for other in self._others]
        snapshots = [await task for task in fetching]
        return [snapshot for snapshot in snapshots if snapshot is not None]

    async def _fetch(self, number: int) -> str | None:
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
            writer.write(self._snapshot().encode())
            await writer.drain()
        writer.close()
