"""The settings of the section ``inference``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["InferenceSettings"]


class InferenceSettings(Struct, frozen=True, kw_only=True):
    """Threads, processes, queues and batches of the model."""

    engine: Annotated[
        Literal["auto", "threads", "process", "async", "ray"],
        Meta(
            description="Where the model runs: on `threads` of the server's process, as coroutines on an event loop of "
            "its own (`async`), or in worker processes (`process`), which contain a model that crashes, hangs or holds "
            "the GIL. `auto`: `async` for a model that defines `async def infer` or `step`, else `threads`. A model "
            "that declares that it holds the GIL runs in processes in both cases. `ray`: on a Ray cluster, where "
            "`voxgate deploy` put it; see the section `ray`."
        ),
    ] = "auto"
    isolation: (
        Annotated[
            Literal["threads", "process"],
            Meta(description="An older name of `inference.engine`; when both are set, they must agree."),
        ]
        | None
    ) = None
    threads: Annotated[
        int,
        Meta(
            ge=0, le=1024, description="Threads that run the model; 0: as many as the model asks for, or one per CPU."
        ),
    ] = 0
    processes: Annotated[
        int, Meta(ge=0, le=1024, description="Worker processes that run the model; 0: one per CPU.")
    ] = 0
    concurrency: Annotated[int, Meta(ge=1, le=65_536, description="Calls that run at once on the engine `async`.")] = 64
    restart_backoff_s: Annotated[
        float,
        Meta(
            ge=0.01,
            le=60,
            description="Time until a worker process that ended is started again, in seconds; it doubles with each "
            "end in a row, up to 100 times as long.",
        ),
    ] = 0.1
    deadline_s: Annotated[
        float, Meta(ge=0.1, le=86_400, description="Time a call may wait and run in total, in seconds; then it fails.")
    ] = 60.0
    max_batch_size: Annotated[int, Meta(ge=1, le=1024, description="Calls in one batch, of any streams.")] = 16
    max_batch_seconds: Annotated[
        float,
        Meta(
            ge=0.1, le=86_400, description="Audio of a batch, padding included, in seconds; a longer call runs alone."
        ),
    ] = 120.0
    batch_window_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=10_000,
            description="Time a batch that is not full waits for more calls, in ms; 0 takes the calls that are there. "
            "A stream that is alone never waits.",
        ),
    ] = 0.0
    interims_per_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=1000,
            description="Interim results a second that one client gets from running calls (models that yield them), if "
            "it asked for interim results; newer ones replace those in between.",
        ),
    ] = 10.0
    per_stream: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Calls of one stream that the model may run at once; further ones wait, interims aside.",
        ),
    ] = 4
    max_jobs: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Calls of all streams that may wait for the model; further ones wait in their streams, and "
            "fail after `inference.deadline_s`.",
        ),
    ] = 4096
    max_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of all streams that may wait for the model, in seconds; 64 KB each at 16 kHz. Further "
            "calls wait as with `max_jobs`.",
        ),
    ] = 3600.0
    stream_jobs: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Calls of one stream that may wait for the model; from half of them on, the server slows the "
            "stream down.",
        ),
    ] = 512
    stream_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of one stream that may wait for the model, in seconds; further calls wait as with "
            "`max_jobs`.",
        ),
    ] = 600.0
    warm_up: Annotated[bool, Meta(description="Run the model once before the server reports that it is ready.")] = True
    start_anyway: Annotated[
        bool,
        Meta(description="Start although the trial call of `warm_up` gave a result that cannot be sent to a client."),
    ] = False
