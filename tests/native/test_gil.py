"""Waiting for the GIL, as a thread sees it."""

from __future__ import annotations

import ctypes
import threading
import time

import pytest

from voxgate._native.gil import wait_for_gil

MS = 1_000_000


def cpu_clock() -> int:
    return time.pthread_getcpuclockid(threading.get_ident())


def test_a_free_gil_is_not_waited_for() -> None:
    waits_ns = []
    for _ in range(9):
        pause_ns, wait_ns, pause_cpu_ns, wait_cpu_ns = wait_for_gil(MS, cpu_clock())
        assert pause_ns >= MS
        assert 0 <= pause_cpu_ns < pause_ns  # Of this thread, which slept.
        assert wait_cpu_ns >= 0
        waits_ns.append(wait_ns)
    assert min(waits_ns) < MS


def test_a_held_gil_is_waited_for() -> None:
    hold = ctypes.PyDLL(None).usleep  # With the GIL.
    clocks: list[int] = []
    started = threading.Event()
    over = threading.Event()

    def holder() -> None:
        clocks.append(cpu_clock())
        started.set()
        while not over.is_set():
            hold(20_000)

    thread = threading.Thread(target=holder)
    thread.start()
    try:
        started.wait()
        assert max(wait_for_gil(MS, clocks[0])[1] for _ in range(9)) > MS
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("pause_ns", [-1, 10**9 + 1])
def test_a_pause_out_of_range_is_refused(pause_ns: int) -> None:
    with pytest.raises(ValueError, match=rf"pause_ns must be within 0..1000000000, got {pause_ns}"):
        wait_for_gil(pause_ns, cpu_clock())


def test_a_clock_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OSError, match="clock 12345 cannot be read"):
        wait_for_gil(0, 12345)
