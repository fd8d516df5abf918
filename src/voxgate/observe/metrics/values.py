"""The value of every metric in the catalogue, read from the parts of the server that keep it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Protocol

import voxgate
from voxgate.inference.engine.base import Engine
from voxgate.inference.scheduler import Scheduler
from voxgate.observe.metrics.tally import KINDS, NS_PER_S, REASONS, LabelCounts, Tally
from voxgate.protocol.wires import STREAMS, WireName
from voxgate.runtime import tasks
from voxgate.runtime.histogram import Histogram
from voxgate.runtime.watchdog import Watchdog

__all__ = ["Labels", "Source", "Values", "read_values"]

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of the catalogue, without `worker`."""
Values = Mapping[Labels, "float | Histogram"]
"""All series of one metric."""

LANES = ("final", "speculative", "interim")


class Admission(Protocol):
    @property
    def refused(self) -> Mapping[tuple[str, WireName], int]:
        """Connections that were refused, by reason and wire."""
        ...


class StartedParts(Protocol):
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def watchdog(self) -> Watchdog: ...


class Source(Protocol):
    """The parts of the service that keep the numbers."""

    @property
    def tally(self) -> Tally: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def started(self) -> StartedParts | None:
        """None: the event loop does not run yet. What these parts count has no series until then."""
        ...

    @property
    def not_ready(self) -> str | None:
        """Why no new stream is accepted."""
        ...


def read_values(source: Source) -> dict[str, Values]:
    """By the name of the metric. On the loop's thread: all values are of one moment."""
    started = source.started
    return {
        "voxgate_ready": {(): float(source.not_ready is None)},
        "voxgate_build_info": {(voxgate.__version__, platform.python_version()): 1},
        **_of_streams(source.tally, source.admission.refused),
        **_of_audio(source.tally),
        **_of_engine(source.engine),
        **_of_inference(source.tally, source.engine.model.name, None if started is None else started.scheduler),
        **_of_loop(None if started is None else started.watchdog),
        **_of_tasks(),
    }


def _of_streams(tally: Tally, refused: Mapping[tuple[str, WireName], int]) -> dict[str, Values]:
    # A wire has series from its first stream on: few servers are used by all of them.
    streams = [stream for stream in STREAMS if stream[1] == "native" or tally.accepted[stream]]
    rejected = {wire: LabelCounts(REASONS) for wire in ("native", *(wire for _, wire in refused))}
    for (reason, wire), n in refused.items():
        rejected[wire].add(reason, n)
    return {
        "voxgate_streams_active": {stream: tally.active[stream] for stream in streams},
        "voxgate_streams_accepted_total": {stream: tally.accepted[stream] for stream in streams},
        "voxgate_streams_total": {
            (*stream, outcome): n for stream in streams for outcome, n in tally.ended[stream].items()
        },
        "voxgate_rejected_total": {
            (reason, wire): n for wire, counts in rejected.items() for reason, n in counts.items()
        },
        "voxgate_stream_ends_total": {
            (*stream, reason): n for stream in streams for reason, n in tally.ends[stream].items()
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
        "voxgate_speculations_total": _by_one(tally.speculations),
        "voxgate_turn_answers_total": _by_one(tally.turns),
        "voxgate_turn_wait_seconds_total": {(): tally.turn_wait_s},
        "voxgate_first_interim_seconds": {(): tally.first_interim_s},
        "voxgate_final_seconds": {(): tally.final_s},
    }


def _of_engine(engine: Engine) -> dict[str, Values]:
    model, counts = engine.model, engine.counts()
    return {
        "voxgate_batches_retried_total": {(): counts.retried_batches},
        "voxgate_worker_restarts_total": {(): counts.restarts},
        "voxgate_worker_crashes_total": {(): counts.crashes},
        "voxgate_worker_kills_total": {(): counts.kills},
        "voxgate_model_info": {(model.name, str(model.sample_rate), engine.kind, str(engine.concurrency)): 1},
    }


def _of_inference(tally: Tally, model: str, scheduler: Scheduler | None) -> dict[str, Values]:
    if scheduler is None:
        names = (
            *("real_time_factor", "stage_seconds", "queue_wait_seconds", "queue_jobs", "queued_audio_seconds"),
            *("running_jobs", "batch_size", "inferences_accepted_total", "inferences_total"),
        )
        return {f"voxgate_{name}": {} for name in names}
    counts, depths, times = scheduler.counts(), scheduler.depths(), scheduler.times
    return {
        "voxgate_real_time_factor": {**_by_one(tally.factors), ("model",): times.factor},
        "voxgate_stage_seconds": {**_by_one(tally.stages_s), ("model",): times.run_s},
        "voxgate_queue_wait_seconds": {
            ("final",): times.final_wait_s,
            ("speculative",): times.speculative_wait_s,
            ("interim",): times.interim_wait_s,
        },
        "voxgate_queue_jobs": {(lane,): depths[lane] for lane in LANES},
        "voxgate_queued_audio_seconds": {(): scheduler.queued_s},
        "voxgate_running_jobs": {(): depths["running"]},
        "voxgate_batch_size": {(): times.batch_size},
        "voxgate_inferences_accepted_total": {(model,): counts.submitted},
        "voxgate_inferences_total": {(model, outcome): n for outcome, n in scheduler.outcomes().items()},
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
