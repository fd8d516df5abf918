"""A watched child process: messages, log, signals and its end. test_process has the worker's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from helpers.job_source import WAIT_S
from helpers.processes import gone
from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.guarded import GuardedProcess
from voxgate.inference.engine.processes.messages import Record


class Said(msgspec.Struct, tag="said"):
    say: str
    pid: int


@pytest.fixture
def echo() -> Iterator[GuardedProcess]:
    process = GuardedProcess(
        "helpers.guarded_echo",
        {"status": 3},
        what="echo",
        activity="started",
        kinds=dict[str, Any] | Record,
        clock=time.perf_counter,
        on_death=died.set,
    )
    died.clear()
    yield process
    process.close()
    assert gone(process.pid)


died = threading.Event()


def until_s() -> float:
    return time.perf_counter() + WAIT_S


def test_messages_and_log(echo: GuardedProcess, caplog: pytest.LogCaptureFixture) -> None:
    echo.send({"say": "hello"}, "echoed")
    assert echo.next_message(until_s()) == {"say": "hello", "pid": echo.pid}
    assert "it runs" in caplog.text
    assert not echo.is_dead


def test_signals_for_the_parent_do_not_end_it(echo: GuardedProcess) -> None:
    echo.send({"say": "one"})
    echo.next_message(until_s())
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(echo.pid, number)
    assert echo.try_send({"say": "two"})
    assert echo.next_message(until_s())["say"] == "two"


def test_its_end_is_noticed_and_explained(echo: GuardedProcess) -> None:
    echo.send({"say": "quit"}, "quit")
    with pytest.raises(ChannelClosed):
        echo.next_message(until_s())
    assert died.wait(WAIT_S)
    assert echo.is_dead
    assert echo.exit_reason() == f"the echo (pid {echo.pid}) exited with status 3 while it quit"
    assert not echo.try_send({"say": "more"})


def test_a_killed_one_says_so(echo: GuardedProcess) -> None:
    echo.kill()
    assert died.wait(WAIT_S)
    assert echo.exit_reason() == f"the echo (pid {echo.pid}) was ended by SIGKILL while it started"
