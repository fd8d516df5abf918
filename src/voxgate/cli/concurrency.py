"""How long calls hold the GIL, and how much two concurrent calls gain.

A thread beside the calls takes the GIL every few milliseconds, and measures only how long it waits for it from the
moment on when it was scheduled: a busy machine delays that moment, and not the wait. The gain of two calls is compared
with that of an ideal model, which hashes and so releases the GIL, within the same second or so: anything else that runs
on the machine affects both sides.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxgate._native.gil import wait_for_gil
from voxgate.cli.behaviour import Gil
from voxgate.runtime import tasks

__all__ = ["N_ROUNDS", "Probes", "measure_gil", "measure_two_at_once", "probe_beside", "timed"]

N_ROUNDS = 3
"""The least number of rounds behind a median."""
_MIN_ROUND_S = 0.1
_PAUSE_NS = 2_000_000
"""Between two probes of the GIL. Long compared with the delay until a thread is scheduled that waited for the GIL."""
_FREE_S = 20e-6
"""To take a free GIL takes less; to wait for one that another thread holds takes longer, nearly always."""
_COMPUTES = 0.2
"""A thread computes, and does not wait for something else, when its CPU time is at least this part of the time."""
_MIN_PROBES = 20
_MOSTLY = 0.65
"""A part of the time above which the GIL counts as held, and below the rest of which as free, whatever else runs."""
_DISTURBED = 0.3
"""When the GIL is held for this part of the time beside a thread that hashes, other threads hold it."""
_HASHED = bytes(4_000_000)


def timed(function: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begin_s = time.perf_counter()
    function()
    return time.perf_counter() - begin_s


def measure_gil(calls: Sequence[Callable[[], object]], seconds: float) -> Gil:
    """Takes the GIL now and then beside a thread that makes a call, and beside one that hashes, in turn.

    Takes at least `seconds` and three rounds. Raises what a call raised.
    """
    rounds: list[Probes] = []
    ideal: list[Probes] = []
    until_s = time.perf_counter() + seconds
    while len(rounds) < N_ROUNDS or time.perf_counter() < until_s:
        ideal.append(probe_beside(_hash))
        rounds.append(probe_beside(calls[len(rounds) % len(calls)]))
    together = Probes.sum(rounds)
    return Gil(
        share=1.0 - together.held,
        longest_pause_s=statistics.median(one.longest_wait_s for one in rounds),
        is_certain=together.is_certain and Probes.sum(ideal).held < _DISTURBED,
    )


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


@dataclass
class Probes:
    """What a thread found that took the GIL again and again beside another thread. Seconds.

    A probe pauses and then takes the GIL. It finds it held when it has to wait; the pause before it then counts as held
    too, because the probe is a sample of that time, and so does the wait.
    """

    held_s: float = 0.0
    free_s: float = 0.0
    held_cpu_s: float = 0.0
    """CPU time of the other thread, like `free_cpu_s`."""
    free_cpu_s: float = 0.0
    longest_wait_s: float = 0.0
    n: int = 0

    def add(self, pause_s: float, wait_s: float, pause_cpu_s: float, wait_cpu_s: float) -> None:
        self.n += 1
        self.longest_wait_s = max(self.longest_wait_s, wait_s)
        if wait_s > _FREE_S:
            self.held_s += pause_s + wait_s
            self.held_cpu_s += pause_cpu_s + wait_cpu_s
        else:
            self.free_s += pause_s + wait_s
            self.free_cpu_s += pause_cpu_s + wait_cpu_s

    @classmethod
    def sum(cls, rounds: Sequence[Probes]) -> Probes:
        return cls(
            sum(one.held_s for one in rounds),
            sum(one.free_s for one in rounds),
            sum(one.held_cpu_s for one in rounds),
            sum(one.free_cpu_s for one in rounds),
            max((one.longest_wait_s for one in rounds), default=0.0),
            sum(one.n for one in rounds),
        )

    @property
    def _held_of_time(self) -> float:
        return self.held_s / max(self.held_s + self.free_s, 1e-9)

    @property
    def _computed(self) -> float:
        """The part of the time in which the other thread computed."""
        return (self.held_cpu_s + self.free_cpu_s) / max(self.held_s + self.free_s, 1e-9)

    @property
    def held(self) -> float:
        """The part of the work during which the other thread held the GIL, 0..1.

        Of a thread that computes: the part of its CPU time, because a machine that is too busy to run the thread leaves
        the GIL free meanwhile. Of a thread that waits: the part of the time.
        """
        if self._computed < _COMPUTES:
            return self._held_of_time
        return max(self._held_of_time, self.held_cpu_s / (self.held_cpu_s + self.free_cpu_s))

    @property
    def is_certain(self) -> bool:
        """Whether the probes were many enough, and whether it makes no difference that a thread which hardly computed
        may have waited for a CPU.
        """
        if self.n < _MIN_PROBES and self._held_of_time < _MOSTLY:
            return False
        return self._computed >= _COMPUTES or not 1 - _MOSTLY <= self._held_of_time <= _MOSTLY


def probe_beside(function: Callable[[], object]) -> Probes:
    """Probes the GIL while another thread repeats `function`. Raises what `function` raised."""
    ended: list[object] = []
    ready = threading.Event()
    clocks: list[int] = []

    def work() -> None:
        clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        ready.set()
        _repeat(function, _MIN_ROUND_S)

    worker = _Worker(work, ended)
    ready.wait()
    probes = Probes()
    while not ended:
        try:
            probe = wait_for_gil(_PAUSE_NS, clocks[0])
        except OSError:  # The thread has ended, and its clock with it.
            break
        if ended:
            break
        probes.add(*(one_ns / 1e9 for one_ns in probe))
    worker.join()
    return probes


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
