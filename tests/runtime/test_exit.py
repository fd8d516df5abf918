"""The immediate end of a process."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import atexit, logging, sys, threading
from voxgate.runtime.exit import end_process

atexit.register(lambda: print("clean-up"))
logging.basicConfig()
threading.Thread(target=threading.Event().wait).start()
print("written", end="")
logging.warning("logged")
{end}
"""


def ended(end: str) -> subprocess.CompletedProcess[str]:
    code = CODE.format(end=end)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_no_thread_and_no_clean_up_delays_it_and_nothing_written_is_lost():
    process = ended("end_process(3)")
    assert (process.returncode, process.stdout, process.stderr) == (3, "written", "WARNING:root:logged\n")


def test_a_closed_output_does_not_keep_the_process():
    process = ended("sys.stdout.close(); end_process(4)")
    assert (process.returncode, process.stdout) == (4, "written")


def test_from_a_thread():
    process = ended("threading.Thread(target=lambda: end_process(5)).start()")
    assert process.returncode == 5
