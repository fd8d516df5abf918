"""A server process as its supervisor sees it."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from voxgate.config import load_config
from voxgate.server.server_process import ServerProcess

SERVES = """os.write(fd, b'{"failed": null}\\n\\n'); time.sleep(3600)"""
CANNOT_SERVE = """os.write(fd, b'{"failed": "no weights"}\\n'); sys.exit(2)"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ServerProcess]]:
    """``started(code)``: a process that runs this code; `fd` is its end of the line. It never outlives the test."""

    processes: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> ServerProcess:
        def start_code(module: str, arguments: object, pass_fds: list[int]) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", f"import os, sys, time; fd = {pass_fds[0]}; {code}"]
            processes.append(subprocess.Popen(command, pass_fds=pass_fds))
            return processes[-1]

        monkeypatch.setattr("voxgate.server.server_process.start_python", start_code)
        return ServerProcess(0, load_config(environ={}), "", is_replacement=False)

    yield start
    for process in processes:
        process.kill()
        process.wait()


def receive(process: ServerProcess) -> bool:
    assert select.select([process.line], [], [], 30)[0]
    return process.receive()


def test_a_process_that_serves(started):
    process = started(SERVES)
    process.silent_s = 5.0
    assert receive(process)
    assert (process.is_ready, process.failure, process.silent_s) == (True, None, 0.0)
    process.drain()
    assert process.reap() == -15
    assert process.line.fileno() == -1
    assert process.pidfd is None


def test_a_process_that_cannot_serve_says_why(started):
    process = started(CANNOT_SERVE)
    while receive(process):
        pass
    assert process.reap() == 2
    assert (process.is_ready, process.failure) == (False, "no weights")


def test_its_last_report_is_read_when_it_is_reaped(started):
    process = started(CANNOT_SERVE)
    process._process.wait(30)
    assert process.reap() == 2
    assert process.failure == "no weights"


def test_a_hung_process_is_killed(started):
    process = started("time.sleep(3600)")
    process.kill_hung()
    assert process.is_hung
    assert process.reap() == -9


def test_a_process_that_closes_its_line_and_does_not_exit_is_killed(started, monkeypatch):
    monkeypatch.setattr("voxgate.server.server_process.EXIT_S", 0.0)
    process = started("os.close(fd); time.sleep(3600)")
    assert not receive(process)
    assert process.reap() == -9
