"""What is simulated: the settings of the servers, of the model and of the clients, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .compiled import numbers, rows


@dataclass(frozen=True)
class ModelCost:
    """Seconds of one replica for a batch: `fixed_s + item_s * items + second_s * seconds of audio`."""

    fixed_s: float
    item_s: float = 0.0
    second_s: float = 0.0

    def of(self, items: int, audio_s: float) -> float:
        return self.fixed_s + self.item_s * items + self.second_s * audio_s


@dataclass(frozen=True)
class EdgeCost:
    """What one core of an edge does. Added latency has the form of a queue: `base + slope * busy / (1 - busy)`."""

    stream_s: float = 0.0
    """CPU seconds of a live stream in a second."""
    idle: float = 0.0
    """Share of a core without any stream."""
    p50_base_s: float = 0.0
    p50_slope_s: float = 0.0
    p99_base_s: float = 0.0
    p99_slope_s: float = 0.0

    def busy(self, n_streams: float) -> float:
        return self.idle + self.stream_s * n_streams

    def p50_s(self, busy: float) -> float:
        return self.p50_base_s + self.p50_slope_s * busy / (1 - busy)

    def p99_s(self, busy: float) -> float:
        return self.p99_base_s + self.p99_slope_s * busy / (1 - busy)


@dataclass(frozen=True)
class Cell:
    """Edges that share one pool of replicas. Settings have the names and the defaults of docs/configuration.md."""

    n_edges: int
    n_replicas: int
    model: ModelCost
    edge: EdgeCost = field(default_factory=EdgeCost)
    n_zones: int = 1
    """Edge i and replica i are in zone i modulo this."""
    max_edges: int = 0
    max_replicas: int = 0
    """Places for those that autoscaling or a deploy adds; 0: as many as there are."""

    # The detector and the client's wishes.
    silence_s: float = 0.6
    speculate_s: float = 0.2
    """0: no speculation."""
    speculate_max_wait_s: float = 0.2
    prefix_s: float = 0.6
    interim_s: float = 0.0
    """Audio between two interim results; 0: the clients want none."""

    # The queue of an edge.
    max_items: int = 16
    max_batch_s: float = 120.0
    window_s: float = 0.0
    deadline_s: float = 60.0
    max_streams: int = 1024
    queue_wait_s: float = 1.0
    learns: bool = True
    """Admission learns how many streams the model serves (decision 0014)."""

    # The way to the replicas.
    calls: int = 1
    """Calls that a replica takes at once: it computes one, and has the next one ready."""
    max_calls: int = 256
    """Calls of one edge that run at once."""
    shares: bool = False
    """An edge makes only its share of the calls that the replicas take (`ray.servers`), not as many as all of them."""
    hop_s: float = 0.0
    hop_second_s: float = 0.0
    """Seconds that a call takes more on the way, for each call and for each second of its audio."""

    # Clients.
    attempts: int = 10
    """Attempts in a row after a refusal or a lost connection; 0: a refused client goes away."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    late_s: float = 2.0
    """A final that comes later than this after the end of speech is late."""

    # Faults, deploys, autoscaling.
    notice_s: float = 10.0
    """Until a client, or Ray, notices that a machine is gone."""
    drain_s: float = 60.0
    edge_start_s: float = 30.0
    replica_start_s: float = 13.5
    edge_target: float = 0.0
    """Streams of an edge that its autoscaler aims at; 0: no autoscaling."""
    replica_target: float = 0.0
    """Calls that run on a replica, aimed at by Ray Serve's autoscaler; 0: no autoscaling."""
    min_replicas: int = 1

    def but(self, **changes: Any) -> Cell:
        return replace(self, **changes)

    @property
    def edge_places(self) -> int:
        return max(self.n_edges, self.max_edges)

    @property
    def replica_places(self) -> int:
        return max(self.n_replicas, self.max_replicas)


def rules(cell: Cell) -> Any:
    """The settings as one record."""
    values = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in vars(cell).items()
        if isinstance(value, (bool, int, float))
    }
    for part, prefix in ((cell.model, "model_"), (cell.edge, "edge_")):
        values |= {prefix + name: float(value) for name, value in vars(part).items()}
    floats = {name for name, of in Cell.__annotations__.items() if of == "float"}
    values |= {name: float(values[name]) for name in floats}
    return rows(values, 1)


# What there is while it runs. -1: none.

GONE, WAITS, LIVE, AWAY, CLOSING = range(5)
"""Of a stream. AWAY: it lost its edge; CLOSING: all was said, and answers are due."""

STREAM = {
    "at_s": 0.0, "length_s": 0.0, "until_s": 0.0, "edge": -1, "state": GONE, "stamp": 0, "attempt": 0,
    "spurt": 0, "phase": 0, "open_s": 0.0, "spurt_end_s": 0.0, "resume_s": 0.0, "tick_s": 0.0,
    "interim": -1, "newer": 0, "guess": -1, "owed": -1, "n_pending": 0, "n_running": 0, "free_s": 0.0,
}  # fmt: skip

FREE, QUEUED, RUNNING, OWED, DONE = range(5)
"""Of a job. OWED: the client will send its audio again; DONE: a speculative call that is over."""

JOB = {
    "stream": -1, "edge": -1, "lane": 0, "state": FREE, "attempts": 0, "dropped": 0, "audio_s": 0.0,
    "ended_s": 0.0, "submitted_s": 0.0, "taken_s": 0.0, "next": -1, "prev": -1,
}  # fmt: skip

FINAL, GUESS, INTERIM = range(3)
"""The lanes, in the order of service: finals, speculative calls, interims."""

LANE = {"head": -1, "tail": -1, "n": 0}

DOWN, UP, DRAINING, STARTING, DEAD = range(5)
"""Of an edge or a replica. DEAD: it is gone, and nobody has noticed."""

EDGE = {
    "state": DOWN, "n_streams": 0, "n_calls": 0, "n_waiting": 0, "window_at_s": -1.0, "stamp": 0,
    "max_served": 1e18, "looked_s": -1e18, "cut_s": -1e18, "cut_wait_s": 0.0, "measured_s": -1e18, "wait_s": 0.0,
    "n_recent": 0, "behind_s": 0.0, "behind_at_s": 0.0,
}  # fmt: skip
RECENT = {"taken_s": -1e18, "wait_s": 0.0}
N_RECENT = 256

CALL = {"edge": -1, "replica": -1, "first": -1, "n": 0, "audio_s": 0.0, "stamp": 0, "next": -1}
REPLICA = {"state": DOWN, "n_ongoing": 0, "free_s": 0.0, "busy_s": 0.0}

COUNTS = (
    "streams", "refusals", "gave_up", "lost", "finals", "answered", "late", "refused", "errors", "cut", "reruns",
    "guesses", "used", "wasted", "interims", "superseded", "shown", "calls", "items",
)  # fmt: skip
NOW = {
    "at_s": 0.0, "n_events": 0, "n_pushed": 0, "n_done": 0, "next_stream": 0, "noise": 0, "free_job": 0, "free_call": 0,
    "route_head": -1, "route_tail": -1, "n_routed": 0, "n_live": 0, "n_away": 0, "n_edges": 0, "n_replicas": 0,
    "n_busy": 0, "n_logged": 0, "n_samples": 0, "shown_s": 0.0, "busy_s": 0.0, "edge_s": 0.0, "replica_s": 0.0,
    "counted_s": 0.0, "edges_enough_s": 0.0, "edge_less_s": -1e18, "ongoing": 0.0, "more_s": -1.0, "less_s": -1.0,
    "begin_s": 0.0, "end_s": 0.0,
}  # fmt: skip

SAMPLE_FIELDS = {
    "at_s": 0.0, "live": 0, "away": 0, "edges": 0, "replicas": 0, "waiting": 0, "routed": 0, "busy": 0,
    "refusals": 0, "answered": 0, "shown": 0,
}  # fmt: skip
ANSWER = {"ended_s": 0.0, "latency_s": 0.0, "wait_s": 0.0}
PLANNED = {"at_s": 0.0, "action": 0, "who": 0}


class World(NamedTuple):
    """Everything, as rows of records: functions of this folder get it as `w`."""

    rules: Any
    now: Any
    counts: Any
    events: Any
    streams: Any
    jobs: Any
    lanes: Any
    edges: Any
    recents: Any
    calls: Any
    replicas: Any
    plan: Any
    on_s: Any
    off_s: Any
    uniform: Any
    normal: Any
    answers: Any
    samples: Any
    sample_s: Any


def row_of(values: Sequence[float]) -> Any:
    return numbers(values)
