"""Whether calls hold the GIL, and what they do to each other."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np
import pytest

from voxgate.cli.concurrency import Probes, measure_gil, measure_two_at_once, probe_beside


def test_a_failure_on_the_other_thread_is_raised() -> None:
    def fail() -> None:
        raise KeyError("here")

    for measure in (
        lambda: probe_beside(fail),
        lambda: measure_gil([fail], 0.0),
        lambda: measure_two_at_once([fail], 0),
    ):
        with pytest.raises(KeyError, match="here"):
            measure()


def test_every_call_is_made() -> None:
    calls: list[int] = []
    gil = measure_gil([lambda n=n: calls.append(n) or time.sleep(0.001) for n in range(3)], 0.0)  # type: ignore[misc]
    assert set(calls) == {0, 1, 2}
    assert 0 <= gil.share <= 1
    assert gil.longest_pause_s >= 0
    calls.clear()
    gains = measure_two_at_once([lambda n=n: calls.append(n) or time.sleep(0.001) for n in range(2)], 0.0)  # type: ignore[misc]
    assert set(calls) == {0, 1}
    assert all(gain > 0 for gain in gains)


# --- the GIL ---


def probes(*found: tuple[float, float, float, float], n: int = 1) -> Probes:
    """`found`, `n` times: pause and wait, in ms, and the CPU time of the other thread during each."""
    made = Probes()
    for _ in range(n):
        for one in found:
            made.add(*(value / 1000 for value in one))
    return made


def test_a_thread_that_computes_with_the_gil_holds_it_however_busy_the_machine_is() -> None:
    alone = probes((2, 5, 2, 5), n=20)
    assert (alone.held, alone.is_certain) == (1.0, True)
    # The GIL is free for half of the time, in which the thread waits for a CPU.
    starved = probes((2, 5, 1, 1), (7, 0, 0, 0), n=20)
    assert starved.held == pytest.approx(1 / 2)  # It computed for a seventh: did it wait for a CPU, or for data?
    assert not starved.is_certain
    busy = probes((2, 5, 2, 3), (7, 0, 0, 0), n=20)
    assert busy.held == 1.0
    assert busy.is_certain


def test_a_thread_that_computes_without_the_gil_releases_it() -> None:
    found = probes((2, 0.001, 2, 0.001), n=20)
    assert (found.held, found.is_certain) == (0.0, True)
    assert probes((2, 0.001, 1, 0), (2, 4, 1, 0.02), n=20).held == pytest.approx(6 / 8.001, rel=1e-3)


def test_a_thread_that_waits_is_judged_by_its_time() -> None:
    free = probes((2, 0.001, 0, 0), n=20)
    assert (free.held, free.is_certain) == (0.0, True)
    holding = probes((2, 20, 0, 0), n=3)  # Few probes, because each waits for so long.
    assert (holding.held, holding.is_certain) == (1.0, True)
    assert not probes((2, 2, 0, 0), (4, 0.001, 0, 0), n=20).is_certain


def test_few_probes_tell_nothing() -> None:
    assert not probes((2, 0.001, 2, 0), n=19).is_certain
    assert not Probes().is_certain


_libc = ctypes.PyDLL(None)  # Its functions are called with the GIL.
_zeros = ctypes.create_string_buffer(8_000_000)
_matrix = np.ones((400, 400), np.float32)


def _python() -> None:
    total = 0
    for n in range(300_000):
        total += n * n


def _in_c_with_the_gil() -> None:
    for _ in range(10):
        _libc.memset(_zeros, 7, ctypes.c_size_t(len(_zeros)))


@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        (_python, "holds"),
        (_in_c_with_the_gil, "holds"),
        (lambda: _libc.usleep(20_000), "holds"),
        (lambda: _matrix @ _matrix, "releases"),
        (lambda: time.sleep(0.005), "releases"),
    ],
    ids=["python", "c", "waits with the GIL", "numpy", "waits"],
)
def test_the_verdict_is_right_or_there_is_none(call: Callable[[], object], verdict: str) -> None:
    assert measure_gil([call], 0.0).verdict in (verdict, "unknown")
