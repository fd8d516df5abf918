"""One run: N streams, and the measurements while all of them were live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from voxgate.runtime import tasks

from .cost import Cost
from .generator import Generator, Plan, Tally, no_garbage_collection
from .quantiles import Lateness, Quantiles, quantiles
from .websocket import Clock

__all__ = ["LATE_MS", "Counts", "Outcome", "ServerCost", "cost_between", "counts_of", "run", "sample"]

LATE_MS = 5.0
"""The largest p99 of the lateness of messages with which the other numbers count."""

LEAST_WINDOW_S = 1.0
"""The shortest time with all streams live that gives numbers."""

Sampler = Callable[[], Cost]


class Counts(msgspec.Struct, frozen=True):
    """The outcomes of the streams."""

    started: int
    connected: int
    completed: int
    different: int
    refusals: dict[str, int]
    """By HTTP status."""
    refusal_reasons: dict[str, str]
    """The reason of the first refusal of each status, if it had one."""
    close_codes: dict[str, int]
    errors: dict[str, int]
    """Error events, by code."""
    failures: dict[str, int]
    differences: list[str]

    @property
    def is_clean(self) -> bool:
        return self.completed == self.started and not self.errors


class ServerCost(msgspec.Struct, frozen=True):
    """The server's use of CPU and memory while all streams were live."""

    cpu_cores: float
    cpu_ms_per_stream_s: float
    """Milliseconds of CPU for a second of a stream."""
    cpu_us_per_message: float
    memory_mib: float
    memory_kib_per_stream: float
    """Growth since before the first stream."""


class Outcome(msgspec.Struct, frozen=True):
    """All times in milliseconds. `added`, `inactive_to_final` and `lag` are of the `window_s` seconds in which all
    streams were live.
    """

    window_s: float
    late: Quantiles | None
    is_late: bool
    generator_cpu_cores: float
    counts: Counts
    connect: Quantiles | None
    first_result: Quantiles | None
    added: Quantiles | None
    inactive_to_final: Quantiles | None
    lag: Quantiles | None
    server: ServerCost | None

    @property
    def has_window(self) -> bool:
        return self.window_s >= LEAST_WINDOW_S


def counts_of(tally: Tally) -> Counts:
    """The counts of a generator for a report, the most frequent first."""

    def plain(counter: dict[int, int] | dict[str, int]) -> dict[str, int]:
        return {str(key): count for key, count in sorted(counter.items(), key=lambda item: -item[1])}

    return Counts(
        tally.started,
        tally.connected,
        tally.completed,
        tally.different,
        plain(tally.refusals),
        {str(status): reason for status, reason in tally.refusal_reasons.items()},
        plain(tally.close_codes),
        plain(tally.errors),
        plain(tally.failures),
        tally.differences,
    )


def cost_between(idle: Cost, first: Cost, last: Cost, seconds: float, n_streams: int, chunk_ms: int) -> ServerCost:
    """The cost of `n_streams` that were live for `seconds` between two samples, with messages of `chunk_ms`; `idle`: a
    sample from before the first stream.
    """
    cores = (last.cpu_s - first.cpu_s) / seconds
    return ServerCost(
        round(cores, 4),
        round(1000 * cores / n_streams, 4),
        round(1000 * cores * chunk_ms / n_streams, 2),
        round(last.memory_bytes / 2**20, 2),
        round((last.memory_bytes - idle.memory_bytes) / n_streams / 1024, 2),
    )


async def sample(sampler: Sampler | None) -> Cost | None:
    """The cost of the server, sampled in a thread since it may use the network; None when unavailable."""
    if sampler is None:
        return None
    try:
        return await tasks.run_in_thread(sampler, "voxgate-load-cost", "load-cost")
    except (OSError, ValueError):
        return None


async def run(
    plan: Plan,
    n_streams: int,
    ramp_s: float,
    clock: Clock,
    timeout_s: float,
    sampler: Sampler | None = None,
    late_ms: float = LATE_MS,
    on_progress: Callable[[Generator], None] = lambda generator: None,
) -> Outcome:
    """Starts `n_streams`, spread over `ramp_s`, and waits until the last one is over.

    Calls `on_progress` every 0.1 s and after each change.
    """
    generator = Generator(plan, clock)
    measures = generator.measures
    idle = await sample(sampler)
    first = last = None
    cpu_s = first_cpu_s = 0.0

    def is_ready(n_added: int) -> bool:
        on_progress(generator)
        return generator.n_playing + generator.tally.started - len(generator.streams) >= n_added

    def is_over() -> bool:
        on_progress(generator)
        return not generator.streams

    with no_garbage_collection():
        generator.start()
        try:
            began_s = clock()
            for number in range(n_streams):
                await asyncio.sleep(max(0.0, began_s + ramp_s * number / n_streams - clock()))
                generator.add()
            await generator.until(lambda: is_ready(n_streams) or generator.stopping.is_set(), timeout_s)
            if generator.n_playing and not generator.stopping.is_set():
                generator.lateness = Lateness()  # from here on
                first = await sample(sampler)
                first_cpu_s = time.process_time()
                measures.from_s = clock()
                await generator.until(lambda: generator.stopping.is_set() or is_over(), timeout_s)
                measures.until_s = clock()
                cpu_s = time.process_time() - first_cpu_s
                last = await sample(sampler)
            lateness = generator.lateness
            generator.lateness = Lateness()
            await generator.until(is_over, timeout_s)
        finally:
            generator.stop()
    window_s = max(0.0, measures.until_s - measures.from_s) if measures.from_s < measures.until_s else 0.0
    late = lateness.quantiles()
    costs = None
    is_long_enough = window_s >= LEAST_WINDOW_S
    if idle is not None and first is not None and last is not None and is_long_enough:
        costs = cost_between(idle, first, last, window_s, n_streams, plan.material.chunk_ms)
    return Outcome(
        window_s=round(window_s, 3),
        late=late,
        is_late=late is not None and late.p99 > late_ms,
        generator_cpu_cores=round(cpu_s / window_s, 3) if is_long_enough else 0.0,
        counts=counts_of(generator.tally),
        connect=quantiles(generator.connect_s),
        first_result=quantiles(generator.first_result_s),
        added=quantiles(measures.added_s) if is_long_enough else None,
        inactive_to_final=quantiles(measures.inactive_to_final_s) if is_long_enough else None,
        lag=quantiles(measures.lag_s) if is_long_enough else None,
        server=costs,
    )
