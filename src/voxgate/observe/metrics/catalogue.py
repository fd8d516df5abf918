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
         "1 when the server accepts new streams, 0 while the model warms up or makes no progress.",
         "At 0: `GET /api/v1/ready` says why."),
    Spec("voxgate_streams_active", "gauge", ("route", "wire"), "Connections that are open.",
         "Compare with `limits.streams`; `--workers` or more servers increase the capacity."),
    Spec("voxgate_streams_accepted_total", "counter", ("route", "wire"),
         "Accepted connections. Always the sum of those that ended and those that are open."),
    Spec("voxgate_streams_total", "counter", ("route", "wire", "outcome"),
         "Connections that ended, by outcome: `completed` (all results were sent), `left` (the client closed the"
         " connection before that), `timeout`, `invalid`, `unauthorized`, `overloaded`, `drained` (the server"
         " ended), `failed` (a bug in the server).",
         "`left`: clients crash or lose their network. `failed`: the log has the stack. `overloaded`: see the queue."),
    Spec("voxgate_rejected_total", "counter", ("reason", "wire"),
         "Connections that were refused before the upgrade, or for the token of their `start`. Those to the wrong host"
         " or to no path of an API count as `native`.",
         "`streams`, `streams_per_address`, `streams_per_token`: raise the limits of these names, or add servers."
         " `queue_wait`, `buffered_audio`: the model is too slow for the load. `unauthorized`, `origin`, `host`:"
         " strangers try to connect without credentials."),
    Spec("voxgate_stream_ends_total", "counter", ("route", "wire", "reason"),
         "Streams that ended, on any wire, by reason. Closed by the server: `completed`, `invalid`, `too_large`,"
         " `timeout`, `unauthorized`, `overloaded`, `draining`, `internal`. Otherwise: `left` (the client closed),"
         " `lost` (the connection broke).",
         "`lost`: networks that break, or clients that crash. `internal`: the log has the stack."),
    Spec("voxgate_closes_total", "counter", ("code",),
         "Websockets that ended, by the code of the close frame, ours or the client's; 1006: there was none.",
         "1006: networks that break, or clients that crash. 1008, 1009: clients that do not follow the protocol."
         " 1011: a bug of ours. 1013: overload."),
    Spec("voxgate_sessions_active", "gauge", ("route",), "Sessions (from start to stop) that are open."),
    Spec("voxgate_session_seconds", "histogram", ("route",), "Length of sessions, from start to the last result."),
    Spec("voxgate_messages_total", "counter", ("direction", "kind"),
         "Messages, `in` or `out`, `text` or `binary`. Outgoing ones count once the socket has taken them.",
         "Many small audio messages cost more than few large ones: 20 to 100 ms each is a good size."),
    Spec("voxgate_bytes_total", "counter", ("direction", "kind"), "Bytes of these messages, without frame headers."),
    Spec("voxgate_errors_total", "counter", ("code",), "Error events sent to clients, by their code.",
         "`inference_failed`: the model refused, or ran out of time. `internal`: the model or the server raised; the"
         " log has the stack. Others: clients' mistakes."),
    Spec("voxgate_limit_hits_total", "counter", ("limit",),
         "Times that a limit took effect, by the name of its setting: it slowed a client down or closed its connection."
         " `max_jobs`: a call found the queue of all streams full (`inference.max_jobs` or `inference.max_seconds`).",
         "`buffered_audio_s`, `stream_jobs`: clients send faster than the model works, which is fine for files."
         " `unsent_events`: clients do not read. Others: see the setting in configuration.md."),
    Spec("voxgate_send_wait_seconds", "histogram", (), "Time until the socket accepts an event: long when the client"
         " does not read.", "Slow clients or networks; they delay no other stream."),
    # Audio
    Spec("voxgate_audio_received_seconds_total", "counter", ("route",),
         "Audio received and decoded, all channels added up: a second of stereo counts two. Always the sum of what was"
         " processed, what was abandoned and what is pending. Bytes that still waited to be decoded when their client"
         " left are in `voxgate_bytes_total` alone."),
    Spec("voxgate_audio_processed_seconds_total", "counter", ("route",),
         "Audio that is finished: answered by a result or an error, or found to contain no speech."),
    Spec("voxgate_audio_abandoned_seconds_total", "counter", ("route",),
         "Audio that was unfinished when its session ended early.",
         "Clients leave without `stop`, or the server closes the connection: see `voxgate_streams_total` by outcome."),
    Spec("voxgate_audio_pending_seconds", "gauge", ("route",),
         "Unfinished audio of open sessions: part of an utterance that is not over, or waiting for the model.",
         "Together with a high queue wait: the model is too slow for the load."),
    Spec("voxgate_segments_total", "counter", ("route", "kind"),
         "Results sent, `final` or `interim`; without the segmented route's interims all are final."),
    Spec("voxgate_interims_superseded_total", "counter", (),
         "Interim results that were not sent because a newer one or the final replaced them.",
         "The model is slower than the interim interval (`vad.interim_interval_ms`)."),
    Spec("voxgate_speculations_total", "counter", ("outcome",),
         "Calls for finals before the silence that ends the utterance was over (`vad.speculate_ms`): `made`, and of"
         " these `used` as the final, `wasted` (speech went on, or the call failed) and `withdrawn` from the queue"
         " before they ran.",
         "`wasted` near `used`: the pauses of these speakers are longer than `vad.speculate_ms`; raise it if the model"
         " has no time to spare."),
    Spec("voxgate_turn_answers_total", "counter", ("outcome",),
         "Pauses in which the turn detector was to decide: the turn is `finished`, `unfinished`, or it is `unsure`;"
         " silence decided, because the answer was `late`, `failed`, the question was `refused` (too many wait, or the"
         " detector hangs), or there was `no_text`.",
         "`late`, `refused`: the detector is too slow (`turn.deadline_ms`, `turn.max_batch_size`). `failed`: see the"
         " log."),
    Spec("voxgate_turn_wait_seconds_total", "counter", (),
         "Time from these pauses to their answers, with the wait for the text if the detector needs one; the audio"
         " behind a pause waits for as long. Divided by the answers, it is the mean.",
         "A mean near `turn.deadline_ms`: answers are late."),
    Spec("voxgate_first_interim_seconds", "histogram", (),
         "From the detection of an utterance (`active`) to its first interim result."),
    Spec("voxgate_final_seconds", "histogram", (),
         "From the detection of the end of an utterance (`inactive`) to its final result: what users wait for.",
         "Its parts are the queue wait and the model's stage time."),
    # Work
    Spec("voxgate_real_time_factor", "histogram", ("stage",),
         "Seconds of work per second of audio, of one channel: `decode` (PCM and resampling) and `vad` once in four"
         " seconds of audio, `model` once per batch.",
         "`model`: the number of workers divided by this is how many seconds of speech the server handles a second."),
    Spec("voxgate_stage_seconds", "histogram", ("stage",),
         "Duration of one run of a stage: `decode` and `vad` of one message in four seconds, `model` of every batch.",
         "`decode` or `vad` above a few ms hold the event loop: are messages too long, or the machine too busy?"),
    Spec("voxgate_queue_wait_seconds", "histogram", ("lane",),
         "Time that a call waited for a worker, `final`, `speculative` or `interim`.",
         "The model is too slow for the load: more workers, batching (`inference.max_batch_size`), more servers."),
    Spec("voxgate_queue_jobs", "gauge", ("lane",), "Calls that wait for a worker.", "As for the queue wait."),
    Spec("voxgate_queued_audio_seconds", "gauge", (), "Audio of the calls that wait.", "As for the queue wait."),
    Spec("voxgate_running_jobs", "gauge", (), "Calls that run in the model."),
    Spec("voxgate_batch_size", "histogram", (), "Calls per batch.",
         "Always 1 under load: the model has no `infer_batch`, or `inference.max_batch_size` is 1."),
    Spec("voxgate_inferences_accepted_total", "counter", ("model",),
         "Calls that were queued. Always the sum of those that ended, wait, run, or are about to be answered."),
    Spec("voxgate_inferences_total", "counter", ("model", "outcome"),
         "Calls that ended: `ok`, `refused` (the model raised InferenceError), `failed` (anything else it raised),"
         " `timeout` (`inference.deadline_s`), `died` (with its worker process), `shutdown`, `cancelled` (the result"
         " was no longer needed).",
         "`failed`: the log has the stack. `timeout`: the queue is too long or the model hangs. `died`: the model"
         " crashes its process. `cancelled`: interims that were superseded, and clients that left."),
    Spec("voxgate_batches_retried_total", "counter", (), "Batches that failed as a whole and ran again item by item.",
         "The model's `infer_batch` raises: the log has the stack."),
    Spec("voxgate_worker_restarts_total", "counter", (), "Worker processes that replaced another one.",
         "The model crashes or hangs: see the log."),
    Spec("voxgate_worker_crashes_total", "counter", (), "Worker processes that died.", "As above."),
    Spec("voxgate_worker_kills_total", "counter", (),
         "Worker processes that the server killed because a call did not end in time.",
         "The model hangs, or `inference.deadline_s` is too short for it."),
    # Event loop, tasks and threads
    Spec("voxgate_loop_lag_seconds", "histogram", (),
         "Delay of a timer of the event loop, measured twenty times a second.",
         "Something holds the loop, which the log names from 250 ms on, or the machine is too busy."),
    Spec("voxgate_loop_held_total", "counter", (), "Times the event loop was held for 250 ms or longer.",
         "The log has the stack that held it, or the model that held the GIL."),
    Spec("voxgate_loop_busy_seconds_total", "counter", (),
         "CPU time of the event loop's thread: its rate is the load of the loop, at most 1.",
         "From about 0.8 on, latencies grow: run more workers (`--workers`) or more servers."),
    Spec("voxgate_tasks", "gauge", ("subsystem",), "Tasks and threads that run.",
         "Unlimited growth is a leak: please report it."),
    Spec("voxgate_tasks_started_total", "counter", ("subsystem",), "Tasks and threads started."),
    Spec("voxgate_tasks_ended_total", "counter", ("subsystem", "outcome"),
         "Tasks and threads that ended: `finished`, `failed`, `cancelled`.", "`failed`: the log has the stack."),
    Spec("voxgate_task_start_delay_seconds", "histogram", ("subsystem",), "From a task's creation to its first step."),
    Spec("voxgate_task_step_seconds", "histogram", ("subsystem",),
         "Duration of one step of a task, from where it resumes to where it waits again.",
         "Steps hold the loop: above 50 ms the log names the task."),
    Spec("voxgate_task_slow_steps_total", "counter", ("subsystem",), "Steps that took longer than 50 ms.",
         "The log names the task."),
    # Versions
    Spec("voxgate_build_info", "info", ("version", "python"), "The version of Voxgate and of Python."),
    Spec("voxgate_model_info", "info", ("model", "sample_rate", "engine", "concurrency"),
         "The served model, its sample rate (Hz), its engine, and how many calls run at once (on Ray, it follows the"
         " replicas)."),
)  # fmt: skip

OTHERS: Final = (
    ("process_*", "CPU, memory, file descriptors and start time of the server process (not of its worker processes)."),
    ("python_gc_*", "Collections of Python's garbage collector."),
)
