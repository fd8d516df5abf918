"""Many live streams on one event loop: their schedule and their outcomes.

A wheel has one slot per millisecond of a message's length. Each stream is in the slot of its phase, and a tick every
millisecond sends the messages that are due, however late the tick is. The generator measures how late each message was
sent: a late generator puts a different load on the server than it reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from voxgate.runtime import tasks

from .material import Material
from .quantiles import Lateness
from .reference import Reference
from .stream import LiveStream, LiveWebSocket
from .websocket import Clock, Target

__all__ = ["Generator", "Measures", "Plan", "Tally", "no_garbage_collection"]

TICK_S = 0.001
GOLDEN = 0.618033988749895  # its successive multiples spread evenly over a turn, for any number of them
NOTICES_EVERY = 10
"""Every tenth stream requests progress notices: enough to measure the lag, too few to add load."""
CONNECTING = 64
"""The most connections that are opened at the same time, as a server's queue for them is short."""
LOOK_EVERY_S = 0.5
"""How often stuck streams are looked for: a look at a thousand streams takes half a millisecond."""
MAX_UNSENT_S = 10.0
"""The most unread audio before a stream is aborted."""


@dataclass
class Plan:
    """The task of every stream."""

    target: Target
    material: Material
    n_messages: int
    references: list[Reference]  # one per offset; empty when streams must only be complete
    n_offsets: int
    interim_results: bool = False
    token: str | None = None
    covering: bool = True
    """Without references: results must cover the audio, as on routes where all of it reaches the model."""


@dataclass
class Tally:
    """Counts of the outcomes of streams."""

    started: int = 0
    connected: int = 0
    completed: int = 0
    """Streams that sent everything, got every result of the reference, and were closed normally."""
    different: int = 0
    """Streams with results that differ from the reference."""
    corrected: int = 0
    """Deciding messages of the reference that turned out to be earlier."""
    refusals: Counter[int] = field(default_factory=Counter)
    refusal_reasons: dict[int, str] = field(default_factory=dict)
    close_codes: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    """The first few, in words."""


class Measures:
    """Durations in seconds. A result counts when its message was sent between `from_s` and `until_s`."""

    def __init__(self) -> None:
        self.from_s = math.inf
        self.until_s = math.inf
        self.added_s = array("d")
        self.sent_s = array("d")
        """When the message of each of `added_s` was sent."""
        self.inactive_to_final_s = array("d")
        self.lag_s = array("d")

    def result(self, sent_s: float, now_s: float, inactive_s: float | None) -> None:
        if self.from_s <= sent_s < self.until_s:
            self.added_s.append(now_s - sent_s)
            self.sent_s.append(sent_s)
            if inactive_s is not None:
                self.inactive_to_final_s.append(now_s - inactive_s)

    def final(self, inactive_s: float, now_s: float) -> None:
        if self.from_s <= inactive_s < self.until_s:
            self.inactive_to_final_s.append(now_s - inactive_s)

    def lag(self, now_s: float, lag_s: float) -> None:
        if self.from_s <= now_s < self.until_s:
            self.lag_s.append(lag_s)


class Generator:
    """Starts streams and drives them. It belongs to one event loop."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan = plan
        self.clock = clock
        self.tally = Tally()
        self.connect_s = array("d")
        self.first_result_s = array("d")
        self.measures = Measures()
        self.lateness = Lateness()
        self.stopping = asyncio.Event()
        """Set when the first stream has sent its stop."""
        self.streams: set[LiveStream] = set()
        """The streams that are not over."""
        self.is_replacing = False
        """Whether a new stream replaces each one that ends."""
        self.changed = asyncio.Event()
        self._n_made = 0
        self._kind = _kind_of(plan.target)
        material = plan.material
        self._slots: list[list[LiveStream]] = [[] for _ in range(material.chunk_ms)]
        self._start_frames = [
            material.start_frame(plan.interim_results, notices, plan.token) for notices in (False, True)
        ]
        audio = material.format
        self._max_unsent_bytes = MAX_UNSENT_S * audio.frame_bytes * audio.sample_rate
        self._looked_s = -math.inf
        self._connecting = asyncio.Semaphore(CONNECTING)
        self._began_s = 0.0
        self._tick_number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._phases: dict[LiveStream, int] = {}

    @property
    def n_playing(self) -> int:
        return sum(map(len, self._slots))

    def start(self) -> None:
        self._began_s = self.clock()
        self._tick()

    def stop(self) -> None:
        """Stops the wheel and aborts all open streams."""
        if self._timer is not None:
            self._timer.cancel()
        self.is_replacing = False
        for stream in list(self.streams):
            stream.abort("aborted")

    def add(self) -> None:
        """Starts one more stream."""
        plan, number = self.plan, self._n_made
        self._n_made += 1
        kind = number % plan.n_offsets
        stream = self._kind(
            self,
            plan.target,
            plan.material,
            self._start_frames[number % NOTICES_EVERY == 0],
            plan.material.offset(kind, plan.n_offsets),
            plan.n_messages,
            plan.references[kind] if plan.references else None,
            plan.covering,
            self.clock,
        )
        self._phases[stream] = int(plan.material.chunk_ms * (number * GOLDEN % 1))
        self.streams.add(stream)
        self.tally.started += 1
        tasks.spawn_task(self._connect(stream), f"voxgate-load-{number}", "load")

    def abort_stuck(self, timeout_s: float) -> None:
        """Aborts the streams that have waited too long for the upgrade, the last results, or the server to read."""
        now_s = self.clock()
        for stream in list(self.streams):
            if stream.connect_s is None:
                if stream.began_s and now_s - stream.began_s > timeout_s:
                    stream.abort(f"no answer to the upgrade within {timeout_s:g} s")
            elif stream.stop_s is not None:
                if now_s - stream.stop_s > timeout_s:
                    stream.abort(f"not every result within {timeout_s:g} s")
            elif stream.unsent_bytes() > self._max_unsent_bytes:
                stream.abort(f"the server has not read {MAX_UNSENT_S:g} s of audio")

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Waits for `condition`, and aborts stuck streams meanwhile."""
        while not condition():
            if (now_s := self.clock()) - self._looked_s >= LOOK_EVERY_S:
                self._looked_s = now_s
                self.abort_stuck(timeout_s)
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 0.1)

    # Called by streams

    def opened(self, stream: LiveStream) -> None:
        assert stream.connect_s is not None
        self.tally.connected += 1
        self.connect_s.append(stream.connect_s)
        self._slots[self._phases[stream]].append(stream)
        self.changed.set()

    def stopped(self) -> None:
        self.stopping.set()
        self.changed.set()

    def ended(self, stream: LiveStream) -> None:
        if stream not in self.streams:
            return
        self.streams.discard(stream)
        del self._phases[stream]
        tally = self.tally
        if stream.status is not None and stream.status != 101:
            tally.refusals[stream.status] += 1
            if stream.refusal_reason:
                tally.refusal_reasons.setdefault(stream.status, stream.refusal_reason)
        elif stream.close_code is not None:
            tally.close_codes[stream.close_code] += 1
            if stream.stop_s is None:
                tally.failures["closed before its end"] += 1
        elif stream.failure != "aborted":
            tally.failures[stream.failure or "unknown"] += 1
        if stream.difference is not None:
            tally.different += 1
            if len(tally.differences) < 5:
                tally.differences.append(stream.difference)
        elif stream.has_ended_well and stream.stop_s is not None and not stream.n_errors:
            tally.completed += 1
        self.changed.set()
        if self.is_replacing and stream.stop_s is not None:
            self.add()

    # Private

    async def _connect(self, stream: LiveStream) -> None:
        async with self._connecting:
            await stream.connect()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        period = self.plan.material.chunk_ms
        last = int((self.clock() - self._began_s) / TICK_S)
        while self._tick_number <= last:
            slot = self._slots[self._tick_number % period]
            if slot:
                due_s = self._began_s + self._tick_number * TICK_S
                ended = [stream for stream in slot if not stream.send_next(due_s)]
                for stream in ended:
                    slot.remove(stream)
            self._tick_number += 1


def _kind_of(target: Target) -> type[LiveStream]:
    if not target.is_grpc:
        return LiveWebSocket
    from .grpc import LiveGrpcStream  # of an extra

    return LiveGrpcStream


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collecting garbage among the objects of a thousand streams would make the generator late."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
