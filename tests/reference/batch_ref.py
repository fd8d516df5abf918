"""BatchQueue as a textbook would have it: everything is looked through for every decision.

Start-time fair queueing: in virtual time, a job of a stream starts at the end of its last one, or at the present when
that is later; the earliest start is served, and becomes the present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIN_COST = 1024


@dataclass
class Waiting:
    job: Any
    stream: Any
    n_samples: int
    lane: int
    alone: bool
    ticket: int
    group: Any
    pin: Any


class ReferenceQueue:
    def __init__(self, max_jobs: int, max_samples: int, stream_jobs: int = 0, stream_samples: int = 0) -> None:
        self.max_jobs, self.max_samples = max_jobs, max_samples
        self.stream_jobs, self.stream_samples = stream_jobs or max_jobs, stream_samples or max_samples
        self.waiting: list[Waiting] = []
        self.present = [0, 0, 0]
        self.ends: dict[tuple[int, Any], int] = {}
        self.n_put = 0

    def put(
        self,
        job: Any,
        n_samples: int,
        stream: Any,
        final: bool,
        alone: bool = False,
        front: bool = False,
        group: Any = None,
        speculative: bool = False,
        pin: Any = None,
    ) -> bool:
        mine = [waiting for waiting in self.waiting if waiting.stream is stream]
        if not front and (
            len(self.waiting) >= self.max_jobs
            or len(mine) >= self.stream_jobs
            or (self.waiting and samples(self.waiting) + n_samples > self.max_samples)
            or (mine and samples(mine) + n_samples > self.stream_samples)
        ):
            return False
        self.n_put += 1
        ticket = -self.n_put if front else self.n_put
        lane = 1 if speculative else 0 if final else 2
        self.waiting.append(Waiting(job, stream, n_samples, lane, alone, ticket, group, pin))
        return True

    def unpin(self, pin: Any) -> list[Any]:
        found = [waiting for waiting in self.waiting if waiting.pin is pin]
        for waiting in found:
            self.remove(waiting)
        return [waiting.job for waiting in found]

    def cancel(self, job: Any) -> bool:
        found = [waiting for waiting in self.waiting if waiting.job is job]
        if found:
            self.remove(found[0])
        return bool(found)

    def take(self, max_items: int, max_samples: int = 0, room: int | None = None, pin: Any = None) -> list[Any]:
        batch: list[Waiting] = []
        passed: list[Waiting] = []  # the heads of streams with jobs of another group
        while len(batch) < max_items and (first := self.first(pin, [waiting.stream for waiting in passed])) is not None:
            following, start = first
            if passed and following.lane != passed[0].lane:
                break
            if batch and following.group is not batch[0].group:
                passed.append(following)
                continue
            size = max(waiting.n_samples for waiting in [*batch, following]) * (len(batch) + 1)
            too_large = (max_samples and size > max_samples) or (room is not None and size > room)
            if batch and (following.alone or too_large):
                break
            self.serve(following, start)
            batch.append(following)
            if following.alone:
                break
        return [waiting.job for waiting in batch]

    def first(self, pin: Any = None, without: Sequence[Any] = ()) -> tuple[Waiting, int] | None:
        """What a taker with this pin takes, and its start. What is pinned elsewhere keeps its place in its stream."""
        for lane in range(3):
            heads: dict[Any, Waiting] = {}
            mine: dict[Any, Waiting] = {}
            for waiting in sorted(self.waiting, key=lambda waiting: waiting.ticket):
                if waiting.lane == lane and waiting.stream not in without:
                    heads.setdefault(waiting.stream, waiting)
                    if waiting.pin in (None, pin):
                        mine.setdefault(waiting.stream, waiting)
            if mine:
                stream = min(mine, key=lambda stream: (self.start(heads[stream]), heads[stream].ticket))
                return mine[stream], self.start(heads[stream])
        return None

    def start(self, waiting: Waiting) -> int:
        present = self.present[waiting.lane]
        return present if waiting.ticket < 0 else max(present, self.ends.get((waiting.lane, waiting.stream), 0))

    def serve(self, waiting: Waiting, start: int) -> None:
        self.present[waiting.lane] = max(self.present[waiting.lane], start)
        if waiting.ticket >= 0:
            self.ends[waiting.lane, waiting.stream] = start + max(waiting.n_samples, MIN_COST)
        self.remove(waiting)

    def remove(self, waiting: Waiting) -> None:
        self.waiting.remove(waiting)
        if not any(other.lane == waiting.lane for other in self.waiting):  # The lane's busy period is over.
            ends = [end for (lane, _), end in self.ends.items() if lane == waiting.lane]
            self.present[waiting.lane] = max([self.present[waiting.lane], *ends])


def samples(waiting: list[Waiting]) -> int:
    return sum(item.n_samples for item in waiting)
