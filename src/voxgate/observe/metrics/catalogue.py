"""Every metric of Voxgate: its name, its labels, its meaning, and what to do when it is high."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["CATALOGUE", "OTHERS", "Kind", "Spec"]

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]


class Spec(NamedTuple):
    """One metric. Every series also carries the label `worker`."""

    name: str
    """As Prometheus shows it; for a histogram without `_bucket`, `_sum` and `_count`."""
    kind: Kind
    labels: tuple[str, ...]
    help: str
    advice: str = ""
    """What to look at, or to do, when it is high."""

    @property
    def family(self) -> str:
        """The name in OpenMetrics, where the suffix belongs to the sample."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return self.name.removesuffix(suffix)


CATALOGUE: Final = (
    # Streams and sessions
    Spec("voxgate_ready", "gauge", (),
         "1 when the server is ready, also if it is full; 0 while the model warms up or makes no progress, and at"
         " shutdown.",
         "At 0: `GET /api/v1/ready` gives the reason."),
    Spec("voxgate_streams_active", "gauge", ("route", "wire"), "Open connections.",
         "Near `limits.streams`: add workers or servers."),
    Spec("voxgate_streams_accepted_total", "counter", ("route", "wire"), "Accepted connections."),
    Spec("voxgate_streams_total", "counter", ("route", "wire", "outcome"),
         "Connections that ended: `completed` (with all results), `left` (closed by the client before), `timeout`,"
         " `invalid`, `unauthorized`, `overloaded`, `drained` (the server ended), `failed` (a bug of the server).",
         "`left`: clients crash or lose their network. `failed`: see the log."),
    Spec("voxgate_rejected_total", "counter", ("reason", "wire"),
         "Connections refused before the upgrade, or for the token of their `start`; `native` for a wrong host or"
         " path.",
         "`streams...`: raise the limit of that name, or add servers. `queue_wait`, `buffered_audio`: the model is too"
         " slow. `unauthorized`, `origin`, `host`: strangers."),
    Spec("voxgate_stream_ends_total", "counter", ("route", "wire", "reason"),
         "Streams that ended. By the server: `completed`, `invalid`, `too_large`, `timeout`, `unauthorized`,"
         " `overloaded`, `draining`, `internal`. Else `left` (the client closed) or `lost` (the connection broke).",
         "`lost`: networks break, or clients crash. `internal`: see the log."),
    Spec("voxgate_closes_total", "counter", ("code",),
         "Websockets that ended, by the close code of either side; 1006: no close frame.",
         "1006: networks break, or clients crash. 1008, 1009: clients break the protocol. 1011: a bug of the server."
         " 1013: overload."),
    Spec("voxgate_sessions_active", "gauge", ("route",), "Open sessions (`start` to `stop`)."),
    Spec("voxgate_session_seconds", "histogram", ("route",), "Length of sessions, from start to last result."),
    Spec("voxgate_messages_total", "counter", ("direction", "kind"),
         "Messages, `in` or `out`, `text` or `binary`; outgoing ones once the socket has accepted them.",
         "Send 20 to 100 ms of audio in a message: small messages cost more."),
    Spec("voxgate_bytes_total", "counter", ("direction", "kind"), "Bytes of these messages, without frame headers."),
    Spec("voxgate_errors_total", "counter", ("code",), "Error events to clients.",
         "`inference_failed`: the model refused or was late. `internal`: see the log. Others: mistakes of clients."),
    Spec("voxgate_limit_hits_total", "counter", ("limit",),
         "Limits that slowed a client down or closed its connection, by setting; `max_jobs`: the queue of all streams"
         " was full (`inference.max_jobs`, `inference.max_seconds`).",
         "`buffered_audio_s`, `stream_jobs`: clients are faster than the model (normal for files). `unsent_events`:"
         " clients do not read."),
    Spec("voxgate_send_wait_seconds", "histogram", (), "Time until the socket accepts an event.",
         "Slow clients or networks; they delay no other stream."),
    # Audio
    Spec("voxgate_audio_received_seconds_total", "counter", ("route",),
         "Decoded audio, over all channels: a second of stereo counts two. Bytes that a client left undecoded count"
         " in `voxgate_bytes_total` alone."),
    Spec("voxgate_audio_processed_seconds_total", "counter", ("route",),
         "Audio with a result or an error, or without speech."),
    Spec("voxgate_audio_abandoned_seconds_total", "counter", ("route",),
         "Unfinished audio of sessions that ended early.",
         "Clients leave without `stop`, or the server closes: see `voxgate_streams_total`."),
    Spec("voxgate_audio_pending_seconds", "gauge", ("route",),
         "Unfinished audio of open sessions: in an open utterance, or waiting for the model.",
         "With a long queue wait: the model is too slow."),
    Spec("voxgate_segments_total", "counter", ("route", "kind"),
         "Results sent, `final` or `interim` (segmented route alone)."),
    Spec("voxgate_interims_superseded_total", "counter", (),
         "Interim results that a newer one or the final replaced before they were sent.",
         "The model is slower than `vad.interim_interval_ms`."),
    Spec("voxgate_speculations_total", "counter", ("outcome",),
         "Calls for finals in advance (`vad.speculate_ms`): `made`, and of these `used`, `wasted` (speech went on, or"
         " the call failed) and `withdrawn` from the queue.",
         "`wasted` near `used`: pauses are longer than `vad.speculate_ms`; raise it if the model is busy."),
    Spec("voxgate_turn_answers_total", "counter", ("outcome",),
         "Questions to the turn detector: `finished`, `unfinished` or `unsure`; silence decided after `late`, `failed`,"
         " `refused` (too many wait, or it hangs) or `no_text`.",
         "`late`, `refused`: the detector is too slow (`turn.deadline_ms`, `turn.max_batch_size`). `failed`: see the"
         " log."),
    Spec("voxgate_turn_wait_seconds_total", "counter", (),
         "Time from these questions to their answers, with the wait for a text; divided by the answers, the mean.",
         "Near `turn.deadline_ms`: answers are late."),
    Spec("voxgate_first_interim_seconds", "histogram", (),
         "From the start of an utterance (`active`) to its first interim result."),
    Spec("voxgate_final_seconds", "histogram", (),
         "From the end of an utterance (`inactive`) to its final: the wait of users.",
         "Its parts are the queue wait and the model's stage time."),
    # Work
    Spec("voxgate_real_time_factor", "histogram", ("stage",),
         "Work per second of audio of one channel: `decode` (with resampling) and `vad` once in four seconds of"
         " audio, `model` once a batch.",
         "Workers divided by `model` are the seconds of speech that the server handles in a second."),
    Spec("voxgate_stage_seconds", "histogram", ("stage",),
         "Duration of one run: `decode` and `vad` of one message in four seconds, `model` of every batch.",
         "`decode` or `vad` above a few ms: messages are too long, or the machine is busy."),
    Spec("voxgate_queue_wait_seconds", "histogram", ("lane",),
         "Wait of a call for a worker: `final`, `speculative` or `interim`.",
         "The model is too slow: add workers, batches (`inference.max_batch_size`) or servers."),
    Spec("voxgate_queue_jobs", "gauge", ("lane",), "Calls that wait for a worker.", "As for the queue wait."),
    Spec("voxgate_queued_audio_seconds", "gauge", (), "Audio of waiting calls.", "As for the queue wait."),
    Spec("voxgate_running_jobs", "gauge", (), "Calls that run in the model."),
    Spec("voxgate_batch_size", "histogram", (), "Calls per batch.",
         "Always 1 under load: no `infer_batch`, or `inference.max_batch_size` is 1."),
    Spec("voxgate_inferences_accepted_total", "counter", ("model",),
         "Queued calls: the sum of those that ended, wait, run, or are about to be answered."),
    Spec("voxgate_inferences_total", "counter", ("model", "outcome"),
         "Calls that ended: `ok`, `refused` (InferenceError), `failed` (another exception), `timeout`"
         " (`inference.deadline_s`), `died` (with its process), `shutdown`, `cancelled` (not needed any more).",
         "`failed`: see the log. `timeout`: long queue, or the model hangs. `died`: the model crashes. `cancelled`:"
         " superseded interims, clients that left."),
    Spec("voxgate_batches_retried_total", "counter", (), "Batches that failed and ran again item by item.",
         "`infer_batch` raises: see the log."),
    Spec("voxgate_worker_restarts_total", "counter", (), "Worker processes that replaced another one.",
         "The model crashes or hangs: see the log."),
    Spec("voxgate_worker_crashes_total", "counter", (), "Worker processes that died.", "As above."),
    Spec("voxgate_worker_kills_total", "counter", (), "Worker processes killed because a call was late.",
         "The model hangs, or `inference.deadline_s` is too short."),
    # Event loop, tasks and threads
    Spec("voxgate_loop_lag_seconds", "histogram", (), "Delay of a timer of the event loop, 20 times a second.",
         "A step holds the loop (the log names it from 250 ms on), or the machine is busy."),
    Spec("voxgate_loop_held_total", "counter", (), "Times that the event loop was held for 250 ms or longer.",
         "The log has the stack, or the model that held the GIL."),
    Spec("voxgate_loop_busy_seconds_total", "counter", (),
         "CPU time of the event loop's thread; its rate is the load, at most 1.",
         "From 0.8 on, latencies grow: add workers (`--workers`) or servers."),
    Spec("voxgate_tasks", "gauge", ("subsystem",), "Running tasks and threads.",
         "Unlimited growth is a leak: please report it."),
    Spec("voxgate_tasks_started_total", "counter", ("subsystem",), "Started tasks and threads."),
    Spec("voxgate_tasks_ended_total", "counter", ("subsystem", "outcome"),
         "Tasks and threads that ended: `finished`, `failed`, `cancelled`.", "`failed`: see the log."),
    Spec("voxgate_task_start_delay_seconds", "histogram", ("subsystem",), "From a task's creation to its first step."),
    Spec("voxgate_task_step_seconds", "histogram", ("subsystem",), "Duration of one step of a task.",
         "Steps hold the loop; the log names tasks above 50 ms."),
    Spec("voxgate_task_slow_steps_total", "counter", ("subsystem",), "Steps longer than 50 ms.",
         "The log names the task."),
    # Versions
    Spec("voxgate_build_info", "info", ("version", "python"), "Versions of Voxgate and Python."),
    Spec("voxgate_model_info", "info", ("model", "sample_rate", "engine", "concurrency"),
         "The model, its sample rate (Hz), engine and concurrent calls (on Ray, by the replicas)."),
)  # fmt: skip

OTHERS: Final = (
    ("process_*", "CPU, memory, file descriptors and start time of the server process (not of worker processes)."),
    ("python_gc_*", "Python's garbage collector."),
)
