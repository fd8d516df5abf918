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
            description="Where the model runs: on `threads`, on an event loop (`async`), in worker processes "
            "(`process`), which contain crashes, hangs and the GIL, or on a Ray cluster (`ray`, see "
            "the section `ray`). `auto`: `async` for `async def infer` or `step`, else `threads`. A "
            "model that declares that it holds the GIL runs in processes instead of on threads."
        ),
    ] = "auto"
    isolation: (
        Annotated[
            Literal["threads", "process"],
            Meta(description="Older name of `inference.engine`; if both are set, they must agree."),
        ]
        | None
    ) = None
    threads: Annotated[
        int,
        Meta(ge=0, le=1024, description="Threads that run the model; 0: the model's own number, or one per CPU."),
    ] = 0
    processes: Annotated[
        int, Meta(ge=0, le=1024, description="Worker processes that run the model; 0: one per CPU.")
    ] = 0
    concurrency: Annotated[int, Meta(ge=1, le=65_536, description="Concurrent calls on the engine `async`.")] = 64
    restart_backoff_s: Annotated[
        float,
        Meta(
            ge=0.01,
            le=60,
            description="Time until a worker process that ended starts again, in seconds; doubled with each end "
            "in a row, up to 100 times as long.",
        ),
    ] = 0.1
    deadline_s: Annotated[
        float,
        Meta(ge=0.1, le=86_400, description="Longest time that a call waits and runs, in seconds; then it fails."),
    ] = 60.0
    max_batch_size: Annotated[int, Meta(ge=1, le=1024, description="Calls in one batch, of any streams.")] = 16
    max_batch_seconds: Annotated[
        float,
        Meta(ge=0.1, le=86_400, description="Audio of a batch, with padding, in seconds; a longer call runs alone."),
    ] = 120.0
    batch_window_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=10_000,
            description="Time that an incomplete batch waits for more calls, in ms; 0: none. A single stream "
            "never waits.",
        ),
    ] = 0.0
    interims_per_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=1000,
            description="Interim results a second of running calls (models that yield them) for one client; "
            "newer ones replace older ones.",
        ),
    ] = 10.0
    per_stream: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Concurrent calls of one stream, interims aside; further ones wait.",
        ),
    ] = 4
    max_jobs: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Calls of all streams that may wait for the model; beyond, they wait in their streams, "
            "and fail after `inference.deadline_s`.",
        ),
    ] = 4096
    max_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of all waiting calls, in seconds (64 KB each at 16 kHz); beyond, as with `max_jobs`.",
        ),
    ] = 3600.0
    stream_jobs: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Calls of one stream that may wait for the model; from half of it on, the stream is held back.",
        ),
    ] = 512
    stream_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=10_000_000,
            description="Audio of one stream's waiting calls, in seconds; beyond, as with `max_jobs`.",
        ),
    ] = 600.0
    warm_up: Annotated[bool, Meta(description="Run the model once before the server is ready.")] = True
    start_anyway: Annotated[
        bool,
        Meta(description="Start even if the result of `warm_up` cannot be sent to clients."),
    ] = False
