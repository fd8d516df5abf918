"""A server process that runs for as long as a block of code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import IO

from voxgate.runtime import tasks

__all__ = ["ServerFailed", "running_server"]

_READY = re.compile(r"voxgate listening on (http://\S+)")
_STOP_TIMEOUT_S = 15.0


class ServerFailed(Exception):
    """The server did not start or did not stop properly. The text includes the end of its log."""


@contextlib.asynccontextmanager
async def running_server(
    command: Sequence[str], start_timeout_s: float, stop_timeout_s: float = _STOP_TIMEOUT_S
) -> AsyncIterator[str]:
    """Starts a server process and yields its URL (http://HOST:PORT) once its output says that it is listening.

    Stops it with SIGTERM at the end of the block, and with SIGKILL after another `stop_timeout_s`. Raises ServerFailed
    when the process exits early, is not ready within `start_timeout_s`, does not stop, or exits with a failure.
    """
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # so that Ctrl-C reaches this process alone, which then stops the server
        )
        assert process.stdout is not None
        drain: asyncio.Task[None] | None = None
        try:
            url = await _wait_ready(process, process.stdout, log, start_timeout_s)
            drain = tasks.spawn_task(_drain(process.stdout), "voxgate-demo-server-output", "client")
            yield url
        finally:
            code, was_killed = await _stop(process, stop_timeout_s)
            if drain is not None:
                await drain
        if was_killed:
            raise ServerFailed(f"the server did not stop within {stop_timeout_s:g} s of SIGTERM and was killed")
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            raise ServerFailed(f"the server ended with exit code {code}{_tail(log)}")


async def _wait_ready(
    process: asyncio.subprocess.Process, output: asyncio.StreamReader, log: IO[bytes], timeout_s: float
) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            while line := await output.readline():
                if found := _READY.search(line.decode("utf-8", "replace")):
                    return found[1]
            code = await process.wait()
    except TimeoutError:
        raise ServerFailed(f"the server was not ready within {timeout_s:g} s{_tail(log)}") from None
    raise ServerFailed(f"the server did not start (exit code {code}){_tail(log)}")


async def _drain(output: asyncio.StreamReader) -> None:
    while await output.read(65_536):
        pass


async def _stop(process: asyncio.subprocess.Process, timeout_s: float) -> tuple[int, bool]:
    """The exit code, and whether the process had to be killed."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait(), False
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait(), True


def _tail(log: IO[bytes], n_lines: int = 20) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()[-n_lines:]
    return "".join(f"\n  | {line}" for line in lines)
