"""What all streams of a server share: the settings, the model on its engine, the detector with its weights."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import Any, Protocol

from voxgate.config import Config
from voxgate.inference.engine.factory import EngineSettings, make_engine
from voxgate.inference.scheduler import Scheduler
from voxgate.models import Model
from voxgate.observe.metrics import Metrics, Tally
from voxgate.observe.tracing import Tracing
from voxgate.runtime.tasks import run_in_thread
from voxgate.runtime.watchdog import Watchdog
from voxgate.service.access import Gate
from voxgate.service.admission import Admission
from voxgate.service.audio_budget import AudioBudget
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector

logger = logging.getLogger(__name__)

# The longest segment that a client may ask for; a call on the simple route is bounded by its own setting.
LONGEST_SEGMENT_S = 300.0


class Stream(Protocol):
    """A connection, as far as the end of the server concerns it."""

    def drain(self, grace_s: float) -> bool:
        """The open session may finish, and no other opens; then 1001. Without one it closes at once: False."""

    def end(self) -> None:
        """The session is finished as if the client had stopped it: what has been received is answered, then 1001."""

    def leave(self) -> None:
        """Closes with 1001 now, whatever is still owed."""


class Service:
    """Made once per server process, before its loop runs. Everything that can be wrong with the settings, the model or
    the detector's weights is found out here: ConfigError.

    `scheduler` and `vad_batcher` exist from `start` on.
    """

    scheduler: Scheduler
    vad_batcher: VadBatcher

    def __init__(self, config: Config, model: Model | None = None) -> None:
        """`model`: served in place of the one that the settings name."""
        self.config = config
        self.vad = VadConfig(**config.vad.tunables())
        self.vad.check()
        self.gate = Gate(config.auth, config.server)
        self.audio_budget = AudioBudget(config.limits.total_buffered_audio_s)
        self.admission = Admission(config.limits, config.auth, self)
        self.detector = load_detector(config.vad.detector, config.vad.weights)
        if model is None:
            logger.info("loading model %r ...", config.model.name)
        self.engine = make_engine(_engine_settings(config), model)
        self.model = self.engine.model
        self.watchdog: Watchdog | None = None
        self.tally = Tally()
        self.metrics = Metrics(self, max_age_s=config.metrics.max_age_s)
        self.tracing = Tracing.from_environment()
        self.connections: set[Stream] = set()
        self.draining_until_s: float | None = None
        """When running sessions are ended, by the monotonic clock; None: not before they end by themselves."""
        self.calls_left_behind = False
        """Model calls still ran when `stop` had waited long enough."""
        self._phase: str | None = "starting"

    @property
    def streams(self) -> int:
        """Connections that are let in."""
        return self.admission.streams

    @property
    def queue_wait_s(self) -> float:
        """Seconds that the model keeps a stream waiting at the moment."""
        return self.scheduler.queue_wait_s

    @property
    def buffered_audio_is_full(self) -> bool:
        """The audio of all streams that waits for the model has reached its limit."""
        return self.audio_budget.is_full

    @property
    def not_ready(self) -> str | None:
        """Why no new stream should come here; None when one may."""
        if self._phase is None and not self.scheduler.making_progress:
            return "no worker makes progress"
        return self._phase

    @property
    def public_limits(self) -> dict[str, Any]:
        """The limits a client should know, as the `started` notice tells them."""
        limits = self.config.limits
        return {
            "channels": limits.channels,
            "message_bytes": limits.message_bytes,
            "message_fragments": limits.message_fragments,
            "frames_per_second": limits.frames_per_second,
            "min_sample_rate": limits.min_sample_rate,
            "max_sample_rate": limits.max_sample_rate,
            "invalid_messages": limits.invalid_messages,
            "start_timeout_s": limits.start_timeout_s,
            "idle_timeout_s": limits.idle_timeout_s,
            "message_timeout_s": limits.message_timeout_s,
            "session_s": limits.session_s,
            "buffered_audio_s": limits.buffered_audio_s,
            "segment_audio_s": limits.segment_audio_s,
            "unsent_events": limits.unsent_events,
            "unsent_bytes": limits.unsent_bytes,
        }

    async def start(self) -> None:
        """Brings the model up; returns when it is warm. Raises ModelLoadError when it cannot be made ready."""
        inference, loop = self.config.inference, asyncio.get_running_loop()
        self.vad_batcher = VadBatcher(loop.call_soon)
        self.scheduler = Scheduler(
            self.engine,
            loop,
            inference.max_jobs,
            max_seconds=inference.max_seconds,
            stream_jobs=inference.stream_jobs,
            stream_seconds=inference.stream_seconds,
            deadline_s=inference.deadline_s,
        )
        self.scheduler.start()
        if self.config.inference.warm_up:
            if self._phase != "draining":
                self._phase = "warming up the model"
            logger.info("warming up model %r ...", self.model.name)
            await self.scheduler.warm_up()
        await _freeze_what_stays()
        on_threads = self.engine.kind == "threads"
        self.watchdog = Watchdog(self.model.name if on_threads else None, self._calls)
        self.watchdog.start()
        if self._phase != "draining":  # asked to end before it was ready
            self._phase = None

    async def stop(self, timeout_s: float) -> None:
        """Takes no more work, and waits at most `timeout_s` for running model calls."""
        self._phase = "stopping"
        if self.watchdog is not None:
            self.watchdog.stop()
        if "scheduler" not in self.__dict__:  # It never came to a start; a worker process may be there all the same.
            stopped = await run_in_thread(lambda: self.engine.stop(timeout_s), "voxgate-engine-stop", "service")
        else:
            self.scheduler.close()
            stopped = await self.scheduler.wait_closed(timeout_s)
        self.calls_left_behind = not stopped
        if self.tracing is not None:
            await self.tracing.stop()

    # The end, step by step. Each is called on the loop, and again without harm.

    def drain(self, grace_s: float) -> int:
        """Lets no new stream in, nor a new session; running ones may finish within `grace_s`. How many there are."""
        if self.draining_until_s is not None:
            return 0
        self._phase = "draining"
        self.draining_until_s = time.monotonic() + grace_s
        return sum([connection.drain(grace_s) for connection in list(self.connections)])

    def end_sessions(self) -> None:
        """Finishes the sessions that are still open."""
        for connection in list(self.connections):
            connection.end()

    def leave_clients(self) -> None:
        """Closes every connection, whatever is still owed."""
        for connection in list(self.connections):
            connection.leave()

    def _calls(self) -> tuple[int, int]:
        """Model calls that run, and that have ended."""
        return self.scheduler.depths()["running"], self.engine.counts().batches


async def _freeze_what_stays() -> None:
    """What stays for good (modules, the model) is not looked at again by the garbage collector, whose full rounds would
    otherwise hold the event loop for 20 to 30 ms now and then.
    """
    # Between two steps of the task, not in one: it is long, and before the start it harms nobody.
    asyncio.get_running_loop().call_soon(gc.collect)
    await asyncio.sleep(0)
    gc.freeze()


def _engine_settings(config: Config) -> EngineSettings:
    inference = config.inference
    return EngineSettings(
        model=config.model.name,
        options=config.model.options,
        isolation=inference.isolation,
        threads=inference.threads,
        processes=inference.processes,
        max_batch_size=inference.max_batch_size,
        max_batch_seconds=inference.max_batch_seconds,
        batch_window_s=inference.batch_window_ms / 1000,
        longest_job_s=max(LONGEST_SEGMENT_S, config.simple.max_chunk_s),
        deadline_s=inference.deadline_s,
        restart_backoff_s=inference.restart_backoff_s,
        warm_up=inference.warm_up,
    )
