"""What all streams of a server share: the settings, the model on its engine, the detector with its weights."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from typing import Any
from typing import Protocol as Interface

from msgspec.structs import replace

from voxgate.access import Gate
from voxgate.admission import Admission
from voxgate.buffered import BufferedAudio
from voxgate.config import Config
from voxgate.engine.base import Engine
from voxgate.engine.processes import ProcessEngine
from voxgate.engine.threads import ThreadEngine
from voxgate.errors import ConfigError
from voxgate.gathering import Gathering
from voxgate.metrics import Metrics, Tally
from voxgate.models import Model, find_model, load_model
from voxgate.models.default import AUTO, choose
from voxgate.scheduler import Scheduler
from voxgate.tasks import run_in_thread
from voxgate.tracing import Tracing
from voxgate.vad import VadConfig, load_detector
from voxgate.watchdog import Watchdog

logger = logging.getLogger(__name__)

# The longest segment that a client may ask for; a call on the simple route is bounded by its own setting.
LONGEST_SEGMENT_S = 300.0


class Stream(Interface):
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

    `scheduler` and `gathering` exist from `start` on.
    """

    scheduler: Scheduler
    gathering: Gathering

    def __init__(self, config: Config, model: Model | None = None) -> None:
        """`model`: served in place of the one that the settings name."""
        self.config = config
        self.vad = VadConfig(**config.vad.tunables())
        self.vad.check()
        self.gate = Gate(config.auth, config.server)
        self.buffered_audio = BufferedAudio(config.limits.total_buffered_audio_s)
        self.admission = Admission(config.limits, config.auth, self)
        self.detector = load_detector(config.vad.detector, config.vad.weights)
        if model is None:
            self.config = config = _choosing_model(config)
            logger.info("loading model %r ...", config.model.name)
        self.engine = _engine(config, model)
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
        return self.buffered_audio.is_full

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
        self.gathering = Gathering(loop.call_soon)
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
        on_threads = isinstance(self.engine, ThreadEngine)
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


def _choosing_model(config: Config) -> Config:
    """The settings with the name of a model in place of `auto`."""
    if config.model.name != AUTO:
        return config
    choice = choose()
    logger.info("serving model %r, because %s", choice.name, choice.reason)
    return replace(config, model=replace(config.model, name=choice.name))


def _engine(config: Config, model: Model | None) -> Engine:
    """The engine that the settings ask for, or that the model needs, with its model loaded."""
    name, options = config.model.name, config.model.options
    isolated = config.inference.isolation == "process"
    if model is not None:
        if isolated:
            raise ConfigError(
                "inference.isolation = 'process' expects a model that is named in the settings: an object that was made"
                " in this process cannot move into another"
            )
        return _threads(config, model)
    if isolated:
        return _processes(config)
    declared = find_model(name)
    stateful = getattr(declared, "step", Model.step) is not Model.step
    if getattr(declared, "holds_gil", False) is True and not stateful:
        return _automatic_processes(config)
    model = load_model(name, options)
    if model.holds_gil and not model.stateful:  # Known only once it was made.
        model.close()
        return _automatic_processes(config)
    return _threads(config, model)


def _threads(config: Config, model: Model) -> ThreadEngine:
    inference = config.inference
    return ThreadEngine(
        model,
        inference.threads,
        inference.max_batch_size,
        inference.max_batch_seconds,
        inference.batch_window_ms / 1000,
    )


def _automatic_processes(config: Config) -> ProcessEngine:
    logger.info(
        "model %r holds the GIL while it computes: it runs in worker processes, as if inference.isolation said so",
        config.model.name,
    )
    return _processes(config)


def _processes(config: Config) -> ProcessEngine:
    inference = config.inference
    engine = ProcessEngine(
        config.model.name,
        config.model.options,
        inference.processes,
        inference.max_batch_size,
        inference.max_batch_seconds,
        inference.batch_window_ms / 1000,
        longest_job_s=max(LONGEST_SEGMENT_S, config.simple.max_chunk_s),
        deadline_s=inference.deadline_s,
        restart_backoff_s=inference.restart_backoff_s,
        warm_up=inference.warm_up,
    )
    engine.load()
    return engine
