from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = "import signal; print(*[signal.getsignal(n) for n in (1, 3, 15)], signal.getsignal(2).__name__)"
DEAF = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers.signals import let_children_hear
for number in (1, 2, 3, 15):
    signal.signal(number, signal.SIG_IGN)
let_children_hear()
for number in (1, 2, 3, 15):
    os.kill(os.getpid(), number)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
"""


def test_children_hear_what_this_process_ignores() -> None:
    done = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True)
    default = str(signal.SIG_DFL)
    assert (done.stdout.split(), done.stderr, done.returncode) == ([default] * 3 + ["default_int_handler"], "", 0)


def test_no_signal_is_ignored_while_tests_run() -> None:
    ignored = {number.name for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    assert ignored.isdisjoint({"SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"})


def test_every_test_has_a_time_limit(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.has_plugin("timeout")
    assert float(pytestconfig.getini("timeout")) > 0
    assert pytestconfig.getini("faulthandler_exit_on_timeout") is True
