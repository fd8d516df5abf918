"""The largest number of streams that a server bears: a population of live streams that grows and shrinks.

A probe brings the population to a size, lets it settle, and looks for some seconds at what is sent then. It passes when
the p99 of the added latency is within the limit and every stream gets the results of an idle server. Streams last half
a minute; one that ends is replaced.

The p99 is the median of those of the seconds: a pause of the machine, which belongs to no server, spoils the seconds
that it falls into, and not the probe. That of the generator's lateness is, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from voxgate import load
from voxgate.load.generator import Generator, Measures, Tally
from voxgate.load.quantiles import Lateness, Quantiles, quantiles

LIMIT_MS = 20.0
WARM_STREAMS = 40
N_OFFSETS = 4  # places of the recording at which streams begin
STREAM_S = 30.0
STARTS_PER_S = 200
SETTLE_S = 2.0
RECOVER_S = 3.0  # more of it after too much
GRACE_S = 1.0  # an answer that is not there by then is too late in any case
TOLERANCE = 0.05
PART_S = 1.0  # of a probe, with a p99 of its own
WARM_S = 3.0  # of the first probe, which is to tell what a message costs
AIM_CORES = 0.92  # of the server, to which a step upwards leads by what the last number cost; then by 5 %, 10, 20 ...
DROP = 0.1  # of a number that failed, to the next one; twice as much after each failure that follows
LEAST_ANSWERS = 10
TIMEOUT_S = 30.0


class Probe(msgspec.Struct, frozen=True):
    """What a population of `n_streams` was like. Times in milliseconds."""

    n_streams: int
    passed: bool
    is_late: bool
    """The generator was: the probe says nothing."""
    seconds: float
    added: Quantiles | None
    """Its p99 is the median of those of the seconds, and so is that of `late`."""
    inactive_to_final: Quantiles | None
    late: Quantiles | None
    generator_cores: float
    server_cores: float
    cpu_us_per_message: float
    memory_kib_per_stream: float
    n_wrong: int
    """Streams that failed, were refused, or got other results than alone."""
    problems: list[str]


class Found(msgspec.Struct, frozen=True):
    n_streams: int
    """The most that passed; 0 when none did."""
    is_exact: bool
    """False when time ran out before a number within the tolerance above it had failed."""
    by_generator: bool
    """What failed did so because the generator was late: the server may bear more."""
    seconds: float
    connect: Quantiles | None
    corrected: int
    probes: list[Probe]


@dataclass(frozen=True)
class Effort:
    window_s: float
    max_probes: int
    time_s: float


@dataclass(frozen=True)
class Limits:
    added_ms: float = LIMIT_MS
    """p99 of the added latency."""
    late_ms: float = LIMIT_MS
    """p99 of the generator's own lateness. Late messages are sent in bunches, which is harder for the server, and their
    latency counts from the moment of sending: more is allowed than where latencies are to be typical."""


# A number that failed with so much of the core idle is looked at again, twice at most: something else had happened.
BUSY_CORES = 0.8
TRIES = 3
LATE_TRIES = 2  # of a number with which the generator was late, and had half a core's work

FULL = Effort(window_s=7.0, max_probes=40, time_s=120.0)
QUICK = Effort(window_s=3.0, max_probes=4, time_s=20.0)


def n_stream_messages(chunk_ms: int) -> int:
    """Of one stream."""
    return int(1000 * STREAM_S) // chunk_ms


async def prepare(target: load.Target, material: load.Material, route: str) -> load.Plan:
    """What the streams do, with what the server says to it alone."""
    n_messages = n_stream_messages(material.chunk_ms)
    references: list[load.Reference] = []
    if route == "segmented":
        start = material.start_frame(False, False, None)
        references = await load.record_references(
            target, material, start, n_messages, N_OFFSETS, time.perf_counter, TIMEOUT_S
        )
    return load.Plan(target, material, n_messages, references, N_OFFSETS)


class Population:
    """Live streams on one server, as many as asked for."""

    def __init__(self, plan: load.Plan, *pids: int) -> None:
        """`pids`: the processes that serve."""
        self.generator = Generator(plan, time.perf_counter)
        self._pids = pids
        self._idle = self.cost()
        self._chunk_ms = plan.material.chunk_ms

    def start(self) -> None:
        self.generator.start()
        self.generator.is_replacing = True

    def stop(self) -> None:
        self.generator.stop()

    def cost(self) -> load.Cost:
        """Of the server, now: a probe asks at the beginning of its window and at the end."""
        costs = [load.from_pid(pid) for pid in self._pids]
        return load.Cost(sum(cost.cpu_s for cost in costs), sum(cost.memory_bytes for cost in costs))

    async def resize(self, n_streams: int) -> None:
        generator = self.generator
        surplus = len(generator.streams) - n_streams
        for stream in list(generator.streams)[: max(0, surplus)]:
            stream.abort("aborted")
        began_s, missing = time.perf_counter(), max(0, -surplus)
        # Streams begin at a few places of the recording. Starts that fill the time from one place to the next leave no
        # moment of it more crowded than another; without that all would end their utterances together.
        spread_s = max(generator.plan.material.duration_s / generator.plan.n_offsets, missing / STARTS_PER_S)
        for number in range(missing):
            await asyncio.sleep(max(0.0, began_s + spread_s * number / missing - time.perf_counter()))
            generator.add()
        until_s = time.perf_counter() + 5
        await generator.until(lambda: generator.n_playing >= n_streams or time.perf_counter() > until_s, TIMEOUT_S)

    async def probe(self, n_streams: int, window_s: float, limits: Limits) -> Probe:
        generator, tally = self.generator, self.generator.tally
        await self.resize(n_streams)
        await self.wait(SETTLE_S)
        wrong_before = self._n_wrong()
        n_before = generator.n_playing
        n_parts = max(1, round(window_s / PART_S))
        parts, after = [Lateness() for _ in range(n_parts)], Lateness()
        measures = generator.measures = Measures()
        first, began_s, ours_s = self.cost(), time.perf_counter(), time.process_time()
        measures.from_s = began_s
        for lateness in parts:
            generator.lateness = lateness
            await self.wait(window_s / n_parts)
        last, measures.until_s, ours_s = self.cost(), time.perf_counter(), time.process_time() - ours_s
        generator.lateness = after
        await self.wait(GRACE_S)
        seconds = measures.until_s - began_s
        added = added_quantiles(measures, n_parts)
        late = steady(Lateness.merged(parts).quantiles(), [lateness.quantiles() for lateness in parts])
        n_wrong = self._n_wrong() - wrong_before
        is_late = late is None or late.p99 > limits.late_ms
        is_full = n_before >= 0.98 * n_streams
        problems = problems_of(tally) if n_wrong else []
        if not is_full:
            problems.append(f"only {n_before} streams were live")
        cost = load.cost_between(self._idle, first, last, seconds, max(1, n_before), self._chunk_ms)
        enough = added is not None and added.n >= LEAST_ANSWERS
        return Probe(
            n_streams,
            enough and not is_late and added.p99 <= limits.added_ms and not n_wrong and is_full,
            is_late,
            round(seconds, 2),
            added,
            quantiles(measures.inactive_to_final_s),
            late,
            round(ours_s / seconds, 3),
            cost.cpu_cores,
            cost.cpu_us_per_message,
            cost.memory_kib_per_stream,
            n_wrong,
            problems,
        )

    async def wait(self, seconds: float) -> None:
        until_s = time.perf_counter() + seconds
        await self.generator.until(lambda: time.perf_counter() >= until_s, TIMEOUT_S)

    def _n_wrong(self) -> int:
        tally = self.generator.tally
        return (
            tally.different
            + sum(tally.errors.values())
            + sum(tally.refusals.values())
            + sum(count for what, count in tally.failures.items() if not what.startswith("HTTP "))
        )


def problems_of(tally: Tally) -> list[str]:
    """All that went wrong so far, in words."""
    return [
        *tally.differences[:1],
        *(f"{n} x {what}" for what, n in tally.failures.items()),
        *(f"{n} x error {code}" for code, n in tally.errors.items()),
        *(f"{n} x HTTP {status}: {tally.refusal_reasons.get(status, '')}" for status, n in tally.refusals.items()),
    ]


def added_quantiles(measures: Measures, n_parts: int) -> Quantiles | None:
    """Of the added latency, in a window of so many parts of equal length."""
    sent_s, added_s = np.asarray(measures.sent_s), np.asarray(measures.added_s)
    length_s = (measures.until_s - measures.from_s) / n_parts
    part_of = np.minimum((sent_s - measures.from_s) / length_s, n_parts - 1).astype(int)
    return steady(quantiles(added_s), [quantiles(added_s[part_of == part]) for part in range(n_parts)])


def steady(whole: Quantiles | None, parts: Sequence[Quantiles | None]) -> Quantiles | None:
    """`whole` with the median of the p99 of its parts; of an even number, the upper one."""
    ordered = sorted(part.p99 for part in parts if part is not None)
    if whole is None or not ordered:
        return whole
    return msgspec.structs.replace(whole, p99=ordered[len(ordered) // 2])


async def search(
    plan: load.Plan,
    pid: int,
    effort: Effort,
    limits: Limits,
    on_probe: Callable[[Probe], None] = lambda probe: None,
    most: int = 20_000,
    stop_at: int = 0,
) -> Found:
    """Upwards to what the CPU time promises, then between what passed and what did not. A step that would pass
    `stop_at` ends there: a goal needs that number.
    """
    began_s = time.perf_counter()
    population = Population(plan, pid)
    probes: list[Probe] = []
    passed, failed, n_streams = 0, most, WARM_STREAMS
    n_tries = n_failed = n_passed = 0
    by_generator = False
    with load.no_garbage_collection():
        population.start()
        try:
            while len(probes) < effort.max_probes and time.perf_counter() - began_s < effort.time_s:
                window_s = effort.window_s if probes else min(WARM_S, effort.window_s)
                probe = await population.probe(n_streams, window_s, limits)
                probes.append(probe)
                on_probe(probe)
                n_tries += 1
                if not probe.passed:
                    await population.resize(passed // 2)
                    await population.wait(RECOVER_S)
                    if n_tries < _tries(probe):
                        continue
                n_tries = 0
                if probe.passed:
                    passed, n_passed, n_failed = n_streams, n_passed + 1, 0
                else:
                    failed, n_failed, by_generator = n_streams, n_failed + 1, probe.is_late
                if _is_exact(passed, failed):
                    break
                if failed == most:
                    full = round(passed * AIM_CORES / max(probe.server_cores, 1e-3))
                    n_passed = n_passed if full < (1 + TOLERANCE) * passed else 0
                    n_streams = min(most - 1, max(passed + 1, int(passed * (1 + TOLERANCE * 2**n_passed)), full))
                    if passed < stop_at < n_streams:
                        n_streams = stop_at
                else:
                    least = 0 if by_generator else round(failed * (1 - DROP * 2**n_failed / 2))
                    n_streams = max(1, (passed + failed) // 2, least)
        finally:
            population.stop()
    tally = population.generator.tally
    return Found(
        passed,
        _is_exact(passed, failed),
        by_generator,
        round(time.perf_counter() - began_s, 1),
        quantiles(population.generator.connect_s),
        tally.corrected,
        probes,
    )


def _tries(probe: Probe) -> int:
    """How often a number that failed so is looked at."""
    if probe.is_late:
        return LATE_TRIES if probe.generator_cores >= 0.5 else TRIES
    return TRIES if probe.server_cores < BUSY_CORES else 1


def _is_exact(passed: int, failed: int) -> bool:
    return failed - passed <= max(1.0, TOLERANCE * failed)
