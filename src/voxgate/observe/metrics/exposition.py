"""What Prometheus reads: the counters of this process and of its peers, in the format that was asked for."""

from __future__ import annotations

import asyncio
import gzip
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import voxgate
from voxgate.inference.engine.base import Engine
from voxgate.inference.scheduler import Scheduler
from voxgate.observe.metrics.catalogue import CATALOGUE
from voxgate.observe.metrics.tally import KINDS, NS_PER_S, REASONS, Counts, Tally
from voxgate.runtime import tasks
from voxgate.runtime.histogram import Histogram
from voxgate.runtime.watchdog import Watchdog

__all__ = ["Exposition", "Metrics"]

Labels = tuple[str, ...]
Values = Mapping[Labels, "float | Histogram"]
LANES = ("final", "interim")
OPENMETRICS = "application/openmetrics-text"


class Admission(Protocol):
    @property
    def refused(self) -> Mapping[str, int]:
        """Connections that were not let in, by reason."""
        ...


class Source(Protocol):
    """Whose numbers they are: the service."""

    @property
    def tally(self) -> Tally: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def watchdog(self) -> Watchdog | None: ...
    @property
    def not_ready(self) -> str | None: ...


class Family(msgspec.Struct, array_like=True):
    """A metric with all its series, as peers tell it each other."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


class Exposition(NamedTuple):
    """An answer to a scrape."""

    body: bytes
    headers: dict[str, str]


class Encoding(NamedTuple):
    """How an answer is written. There are four, whatever is asked for: what is shared has an end."""

    is_openmetrics: bool
    is_compressed: bool


class Snapshot:
    """The numbers of one moment, own and peers', and what has been written of them."""

    def __init__(self, numbers: asyncio.Task[tuple[list[Family], list[str]]]) -> None:
        self.began_s = time.monotonic()
        self.numbers = numbers
        self.written: dict[Encoding, asyncio.Task[Exposition]] = {}

    @property
    def is_done(self) -> bool:
        return self.numbers.done() and all(task.done() for task in self.written.values())


class Metrics:
    """The metrics of one server process. Nothing here is shared between two of them.

    Of several processes that serve one port any may be scraped: it asks its `peers` and answers for all. Every series
    carries the label `worker`, the process's number, also where there is only one.

    Making an answer costs milliseconds of a core: who asks within `max_age_s` of another, or while the answer to that
    one is still being made, gets the same one. 0: each is made anew.
    """

    def __init__(self, source: Source, worker: int = 0, max_age_s: float = 0.0) -> None:
        self._source = source
        self._max_age_s = max_age_s
        self._snapshot: Snapshot | None = None
        self.worker = str(worker)
        self.peers: Callable[[], Awaitable[list[str]]] | None = None
        """Asks the other server processes for their `snapshot`; those that do not answer in time are left out."""
        self.port: int | None = None
        """The port on which `/metrics` alone is answered; None: the server's."""
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    def snapshot(self) -> str:
        """The numbers of this process, for a peer to put into its answer. On the loop's thread: all are of one
        moment.
        """
        return msgspec.json.encode(self._families()).decode()

    async def expose(self, accept: str = "", accept_encoding: str = "") -> Exposition:
        """The answer to a scrape: the numbers of this process and of its peers, as the two headers ask for it."""
        form = _form(accept, accept_encoding)
        snapshot = self._snapshot
        if snapshot is None or not self._is_fresh(snapshot):
            snapshot = self._snapshot = Snapshot(tasks.spawn_task(self._tell(), "metrics-numbers", "metrics"))
        writing = snapshot.written.get(form)
        if writing is None:
            writing = snapshot.written[form] = tasks.spawn_task(_written(snapshot, form), "metrics-writing", "metrics")
        return await asyncio.shield(writing)  # others may wait for it too

    def _is_fresh(self, snapshot: Snapshot) -> bool:
        if not self._max_age_s:
            return False
        return not snapshot.is_done or time.monotonic() - snapshot.began_s < self._max_age_s

    async def _tell(self) -> tuple[list[Family], list[str]]:
        told = await self.peers() if self.peers is not None else []
        return self._families(), told

    def _families(self) -> list[Family]:
        values, worker = self._values(), self.worker
        families = []
        for spec in CATALOGUE:
            samples: list[tuple[str, dict[str, str], float]] = []
            for label_values, value in values[spec.name].items():
                labels = {"worker": worker, **dict(zip(spec.labels, label_values, strict=True))}
                if isinstance(value, Histogram):
                    samples += _buckets(spec.name, labels, value)
                else:
                    samples.append((spec.name, labels, value))
            families.append(Family(spec.family, spec.kind, spec.help, samples))
        for metric in self._process.collect():
            samples = [(sample.name, {"worker": worker, **sample.labels}, sample.value) for sample in metric.samples]
            families.append(Family(metric.name, metric.type, metric.documentation, samples))
        return families

    def _values(self) -> dict[str, Values]:
        """The values of every metric in the catalogue, by the values of its labels."""
        source = self._source
        return {
            "voxgate_ready": {(): float(source.not_ready is None)},
            "voxgate_build_info": {(voxgate.__version__, platform.python_version()): 1},
            **_of_streams(source.tally, source.admission.refused),
            **_of_audio(source.tally),
            **_of_inference(source.tally, source.engine, getattr(source, "scheduler", None)),
            **_of_loop(source.watchdog),
            **_of_tasks(),
        }


def _of_streams(tally: Tally, refused: Mapping[str, int]) -> dict[str, Values]:
    rejected = Counts(REASONS)
    for reason, n in refused.items():
        rejected.add(reason, n)
    return {
        "voxgate_streams_active": _by_one(tally.active),
        "voxgate_streams_accepted_total": _by_one(tally.accepted),
        "voxgate_streams_total": {
            (route, outcome): n for route, ended in tally.ended.items() for outcome, n in ended.items()
        },
        "voxgate_rejected_total": _by_one(rejected),
        "voxgate_stream_ends_total": {
            (route, reason): n for route, ends in tally.ends.items() for reason, n in ends.items()
        },
        "voxgate_closes_total": _by_one(tally.closes),
        "voxgate_sessions_active": {(route,): len(audio.sessions) for route, audio in tally.audio.items()},
        "voxgate_session_seconds": _by_one(tally.sessions_s),
        "voxgate_messages_total": {
            ("in", "text"): tally.text_in,
            ("in", "binary"): tally.binary_in,
            ("out", "text"): tally.text_out,
            ("out", "binary"): tally.binary_out,
        },
        "voxgate_bytes_total": {
            ("in", "text"): tally.text_in_bytes,
            ("in", "binary"): tally.binary_in_bytes,
            ("out", "text"): tally.text_out_bytes,
            ("out", "binary"): tally.binary_out_bytes,
        },
        "voxgate_errors_total": _by_one(tally.errors),
        "voxgate_limit_hits_total": _by_one(tally.limit_hits),
        "voxgate_send_wait_seconds": {(): tally.send_wait_s},
    }


def _of_audio(tally: Tally) -> dict[str, Values]:
    received: dict[Labels, float] = {}
    processed: dict[Labels, float] = {}
    abandoned: dict[Labels, float] = {}
    pending: dict[Labels, float] = {}
    for route, audio in tally.audio.items():
        received_ns = audio.received_ns + sum(session.received_ns for session in audio.sessions)
        pending_ns = sum(session.unfinished_ns for session in audio.sessions)
        received[route,] = received_ns / NS_PER_S
        processed[route,] = (received_ns - pending_ns - audio.abandoned_ns) / NS_PER_S
        abandoned[route,] = audio.abandoned_ns / NS_PER_S
        pending[route,] = pending_ns / NS_PER_S
    return {
        "voxgate_audio_received_seconds_total": received,
        "voxgate_audio_processed_seconds_total": processed,
        "voxgate_audio_abandoned_seconds_total": abandoned,
        "voxgate_audio_pending_seconds": pending,
        "voxgate_segments_total": {
            (route, kind): n for (route, kind), n in tally.segments.items() if route == "segmented" or kind == KINDS[0]
        },
        "voxgate_interims_superseded_total": {(): tally.interims_superseded},
        "voxgate_first_interim_seconds": {(): tally.first_interim_s},
        "voxgate_final_seconds": {(): tally.final_s},
    }


def _of_inference(tally: Tally, engine: Engine, scheduler: Scheduler | None) -> dict[str, Values]:
    model, done = engine.model, engine.counts()
    values: dict[str, Values] = {
        "voxgate_batches_retried_total": {(): done.retried_batches},
        "voxgate_worker_restarts_total": {(): done.restarts},
        "voxgate_worker_crashes_total": {(): done.crashes},
        "voxgate_worker_kills_total": {(): done.kills},
        "voxgate_model_info": {(model.name, str(model.sample_rate), engine.kind, str(engine.concurrency)): 1},
    }
    if scheduler is None:  # not started yet
        names = (
            *("real_time_factor", "stage_seconds", "queue_wait_seconds", "queue_jobs", "queued_audio_seconds"),
            *("running_jobs", "batch_size", "inferences_accepted_total", "inferences_total"),
        )
        return values | {f"voxgate_{name}": {} for name in names}
    counts, depths, times = scheduler.counts(), scheduler.depths(), scheduler.times
    return values | {
        "voxgate_real_time_factor": {**_by_one(tally.factors), ("model",): times.factor},
        "voxgate_stage_seconds": {**_by_one(tally.stages_s), ("model",): times.run_s},
        "voxgate_queue_wait_seconds": {("final",): times.final_wait_s, ("interim",): times.interim_wait_s},
        "voxgate_queue_jobs": {(lane,): depths[lane] for lane in LANES},
        "voxgate_queued_audio_seconds": {(): scheduler.queued_s},
        "voxgate_running_jobs": {(): depths["running"]},
        "voxgate_batch_size": {(): times.batch_size},
        "voxgate_inferences_accepted_total": {(model.name,): counts.submitted},
        "voxgate_inferences_total": {(model.name, outcome): n for outcome, n in scheduler.outcomes().items()},
    }


def _of_loop(watchdog: Watchdog | None) -> dict[str, Values]:
    return {
        "voxgate_loop_lag_seconds": {} if watchdog is None else {(): watchdog.lag_s},
        "voxgate_loop_held_total": {} if watchdog is None else {(): watchdog.n_held},
        "voxgate_loop_busy_seconds_total": {} if watchdog is None else {(): watchdog.busy_s},
    }


def _of_tasks() -> dict[str, Values]:
    counts, times = tasks.counts(), tasks.times()
    return {
        "voxgate_tasks": {(name,): of.running for name, of in counts.items()},
        "voxgate_tasks_started_total": {(name,): of.started for name, of in counts.items()},
        "voxgate_tasks_ended_total": {
            (name, outcome): getattr(of, outcome)
            for name, of in counts.items()
            for outcome in ("finished", "failed", "cancelled")
        },
        "voxgate_task_start_delay_seconds": {(name,): of.start_delay_s for name, of in times.items()},
        "voxgate_task_step_seconds": {(name,): of.step_s for name, of in times.items()},
        "voxgate_task_slow_steps_total": {(name,): of.n_slow for name, of in times.items()},
    }


def _by_one(values: Mapping[str, Any]) -> Values:
    return {(label,): value for label, value in values.items()}


def _buckets(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[tuple[str, dict[str, str], float]]:
    counts = histogram.counts.copy()  # It may be observed meanwhile, by another thread.
    n = 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), counts, strict=True):
        n += count
        yield f"{name}_bucket", {**labels, "le": bound}, n
    yield f"{name}_sum", labels, histogram.total
    yield f"{name}_count", labels, n


class _Merged(Collector):
    def __init__(self, tellings: Iterable[Sequence[Family]]) -> None:
        self._metrics: dict[str, Metric] = {}
        for families in tellings:
            for family in families:
                metric = self._metrics.get(family.name)
                if metric is None:
                    metric = self._metrics[family.name] = Metric(family.name, family.help, family.kind)
                for name, labels, value in family.samples:
                    metric.add_sample(name, labels, value)

    def collect(self) -> Iterable[Metric]:
        return self._metrics.values()


def _form(accept: str, accept_encoding: str) -> Encoding:
    encodings = [part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")]
    return Encoding(choose_encoder(accept)[1].startswith(OPENMETRICS), "gzip" in encodings)


async def _written(snapshot: Snapshot, form: Encoding) -> Exposition:
    own, told = await snapshot.numbers
    # Writing some hundred lines takes milliseconds, which the loop has better use for.
    return await tasks.run_in_thread(lambda: _write(own, told, form), "voxgate-metrics", "metrics")


def _write(own: list[Family], told: Sequence[str], form: Encoding) -> Exposition:
    tellings = [own, *(msgspec.json.decode(text, type=list[Family]) for text in told)]
    encode, content_type = choose_encoder(OPENMETRICS if form.is_openmetrics else "")
    body = encode(_Merged(tellings))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if form.is_compressed:
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return Exposition(body, headers)
