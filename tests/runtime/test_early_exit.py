"""Signals before the server serves; tests/server and tests/cli send real ones to real processes."""

from __future__ import annotations

import gc
import signal

import pytest

from voxgate.cli import main
from voxgate.runtime.early_exit import EarlyExit

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def wakeup_fd() -> int:
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found)
    return found


def test_a_body_that_never_serves_gets_its_handlers_back():
    before = handlers()
    with EarlyExit():
        assert all(one not in before for one in handlers())
        assert wakeup_fd() != -1
    assert handlers() == before
    assert wakeup_fd() == -1


def test_handlers_stay_for_a_loop_that_is_about_to_run():
    before = handlers()
    try:
        with EarlyExit() as early_exit:
            during = handlers()
            early_exit.over()
            assert wakeup_fd() == -1
        assert handlers() == during
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("arguments", [["--print-config"], ["--set", "nothing"], ["--set", "server.port=x"]])
def test_a_command_that_serves_nothing_leaves_no_handler_and_no_socket(arguments, capsys):
    before = handlers()
    main(["serve", *arguments])
    gc.collect()  # an open socket that is left behind is an error
    assert handlers() == before
    assert wakeup_fd() == -1
