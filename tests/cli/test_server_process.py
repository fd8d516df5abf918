"""The server process of `voxgate demo` starts, stops, and reports its failures."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Sequence

import pytest

from helpers.demo_server import demo_server
from voxgate.cli.server_process import ServerFailed, running_server


def python(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


async def start_and_stop(command: Sequence[str], start_timeout_s: float = 30, stop_timeout_s: float = 30) -> str:
    async with running_server(command, start_timeout_s, stop_timeout_s) as url:
        return url


def test_the_server_is_started_and_stopped() -> None:
    url = asyncio.run(start_and_stop(demo_server()))
    assert url.startswith("http://127.0.0.1:")


def test_a_server_that_dies_at_its_start_shows_its_log() -> None:
    command = python("import sys; print('no model of that name', file=sys.stderr); sys.exit(2)")
    with pytest.raises(ServerFailed, match=r"did not start \(exit code 2\)\n  \| no model of that name"):
        asyncio.run(start_and_stop(command))


def test_a_server_that_never_gets_ready_is_given_up() -> None:
    command = python("import sys, signal; print('warming up', file=sys.stderr, flush=True); signal.pause()")
    with pytest.raises(ServerFailed, match=r"not ready within 1 s\n  \| warming up"):
        asyncio.run(start_and_stop(command, start_timeout_s=1))


def test_a_server_that_ignores_sigterm_is_killed_and_reported() -> None:
    command = python(
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("voxgate listening on http://127.0.0.1:1", flush=True)
        while True:
            signal.pause()
        """
    )
    with pytest.raises(ServerFailed, match=r"did not stop within 0\.1 s"):
        asyncio.run(start_and_stop(command, stop_timeout_s=0.1))


def test_a_server_that_ends_badly_is_reported() -> None:
    with pytest.raises(ServerFailed, match=r"exit code 3\n  \| something for the log"):
        asyncio.run(start_and_stop(demo_server(code=3)))


def test_a_server_that_ends_by_the_signal_itself_is_fine() -> None:
    command = python(
        """
        import signal
        print("voxgate listening on http://127.0.0.1:1", flush=True)
        signal.pause()
        """
    )
    assert asyncio.run(start_and_stop(command)) == "http://127.0.0.1:1"
