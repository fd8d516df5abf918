"""How calls affect a Python thread beside them, and how much two concurrent calls gain.

Both are compared with an ideal model, which hashes and so releases the GIL, within the same second or so: anything else
that runs on the machine affects both sides.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence

from voxgate.cli.behaviour import Gil
from voxgate.runtime import tasks

__all__ = ["N_ROUNDS", "measure_gil", "measure_two_at_once", "spin_beside", "timed"]

N_ROUNDS = 3
"""The least number of rounds behind a median."""
_MIN_ROUND_S = 0.1
_HASHED = bytes(4_000_000)
_NO_LIMIT_S = 3600.0


def timed(function: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begin_s = time.perf_counter()
    function()
    return time.perf_counter() - begin_s


def measure_gil(calls: Sequence[Callable[[], object]], seconds: float) -> Gil:
    """Runs a Python loop beside a thread that hashes and beside one that makes a call, in turn.

    Takes at least `seconds` and three rounds. Raises what a call raised.
    """
    shares: list[float] = []
    pauses_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while len(shares) < N_ROUNDS or time.perf_counter() < until_s:
        best, _ = spin_beside(_hash)
        beside, pause_s = spin_beside(calls[len(shares) % len(calls)])
        shares.append(min(1.0, beside / best))
        pauses_s.append(pause_s)
    return Gil(statistics.median(shares), statistics.median(pauses_s))


def measure_two_at_once(calls: Sequence[Callable[[], object]], seconds: float) -> tuple[float, float]:
    """The gain of two threads that make all calls, and the gain of two threads that hash for as long.

    Takes at least `seconds` and three rounds. Raises what a call raised.
    """

    def call_all() -> None:
        for call in calls:
            call()

    model_round, hash_round = _repeated(call_all), _repeated(_hash)
    gains: list[float] = []
    best: list[float] = []
    until_s = time.perf_counter() + seconds
    while len(gains) < N_ROUNDS or time.perf_counter() < until_s:
        gains.append(_gain_of_two(model_round))
        best.append(_gain_of_two(hash_round))
    return statistics.median(gains), statistics.median(best)


def spin_beside(function: Callable[[], object]) -> tuple[float, float]:
    """Runs a Python loop while another thread repeats `function`; turns per second, and the longest pause in seconds.

    Raises what `function` raised.
    """
    ended: list[object] = []
    worker = _Worker(lambda: _repeat(function, _MIN_ROUND_S), ended)
    turns = _spin(ended)
    worker.join()
    return turns


def _spin(ended: Sequence[object]) -> tuple[float, float]:
    begin_s = last_s = time.perf_counter()
    until_s = begin_s + _NO_LIMIT_S
    n = 0
    longest_s = 0.0
    while not ended and last_s < until_s:
        now_s = time.perf_counter()
        if now_s - last_s > longest_s:
            longest_s = now_s - last_s
        last_s = now_s
        n += 1
    return n / max(last_s - begin_s, 1e-9), longest_s


def _hash() -> None:
    """Some milliseconds of work without the GIL."""
    hashlib.sha256(_HASHED)


def _repeat(function: Callable[[], object], seconds: float) -> None:
    """At least once, and for at least `seconds`."""
    until_s = time.perf_counter() + seconds
    function()
    while time.perf_counter() < until_s:
        function()


def _repeated(function: Callable[[], object]) -> Callable[[], None]:
    """`function` as often as it takes for a round that is long enough to be timed."""
    n = max(1, round(_MIN_ROUND_S / max(timed(function), 1e-6)))

    def repeated() -> None:
        for _ in range(n):
            function()

    return repeated


def _gain_of_two(function: Callable[[], None]) -> float:
    def two() -> None:
        ended: list[object] = []
        workers = [_Worker(function, ended) for _ in range(2)]
        for worker in workers:
            worker.join()

    return 2 * timed(function) / timed(two)


class _Worker:
    """A thread that runs one function and then appends to `ended`; `join` raises what the function raised."""

    def __init__(self, function: Callable[[], object], ended: list[object]) -> None:
        self._error: BaseException | None = None

        def run() -> None:
            try:
                function()
            except BaseException as error:
                self._error = error
            finally:
                ended.append(self)

        self._thread = tasks.spawn_thread(run, "voxgate-check", daemon=True, subsystem="check")

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error
