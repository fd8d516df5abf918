from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from voxgate import load


def test_the_cost_of_a_process_is_what_it_says_itself():
    before_s, cost, after_s = time.process_time(), load.from_pid(os.getpid()), time.process_time()
    assert before_s <= cost.cpu_s <= after_s
    assert cost.memory_bytes > 1e6


def test_a_process_of_another_is_measured_finer_than_a_tick():
    """An interpreter that waits has taken some time, and no whole number of hundredths of a second."""
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cost = load.from_pid(process.pid)
        process.communicate(b"\n")
    assert cost.cpu_s > 0
    assert round(cost.cpu_s, 2) != cost.cpu_s


def test_a_process_that_is_not_there_is_an_oserror():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(OSError, match=r"Invalid argument|No such"):
        load.from_pid(process.pid)
