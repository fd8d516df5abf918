"""What all streams of a server process share: the settings, the engine with its model, the detector, the counters."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

from msgspec import structs
from msgspec.structs import replace

from voxgate.audio.containers import Decoders, MediaLimits
from voxgate.config import Config
from voxgate.inference.engine.factory import EngineSettings, make_engine
from voxgate.inference.engine.ray import RaySettings as RayEngineSettings
from voxgate.inference.scheduler import Scheduler
from voxgate.models import Model
from voxgate.models.default import AUTO, choose
from voxgate.models.session_options import SessionOptions
from voxgate.observe.metrics import Metrics, Tally
from voxgate.observe.tracing import Tracing
from voxgate.runtime.tasks import run_in_thread
from voxgate.runtime.watchdog import Watchdog
from voxgate.service.access import Gate
from voxgate.service.admission import Admission
from voxgate.service.audio_budget import AudioBudget
from voxgate.service.phase import Phase
from voxgate.service.redis_counts import RedisCounts
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector
from voxgate.vad.turns import TurnConfig, TurnJudge, load_turn_detector, public_name, why_idle

logger = logging.getLogger(__name__)

SLOW_WARM_UP_S = 10.0
"""A warm-up that takes longer is logged, and again after twice the time."""

# The longest segment that a client may ask for; a call on the simple route is bounded by its own setting.
LONGEST_SEGMENT_S = 300.0

PUBLIC_LIMITS: Final = (
    *("channels", "message_bytes", "message_fragments", "frames_per_second", "min_sample_rate", "max_sample_rate"),
    *("invalid_messages", "start_timeout_s", "idle_timeout_s", "message_timeout_s", "session_s", "buffered_audio_s"),
    *("segment_audio_s", "unsent_events", "unsent_bytes"),
)
"""The settings below `limits` that a client should know."""


class Drainable(Protocol):
    """An accepted connection, as the end of the server sees it. All methods belong to the loop's thread."""

    def drain(self, grace_s: float) -> bool:
        """Accepts no new session; an open one may go on for `grace_s` seconds, and then the connection closes. False:
        no session is open, and the connection closes now.
        """

    def end(self) -> None:
        """Finishes the session as if the client had stopped it: answers all audio received so far, then closes."""

    def leave(self) -> None:
        """Closes the connection now, and drops the results that are still pending."""


@dataclass(frozen=True, slots=True)
class StartedParts:
    """The parts of a service that need its event loop."""

    scheduler: Scheduler
    vad_batcher: VadBatcher
    watchdog: Watchdog


class Service:
    """Created once per server process, before its event loop runs: the constructor checks the settings, loads the model
    and the weights of the detector, and raises ConfigError for what it cannot use. `start` makes the parts that need
    the loop.

    Except for the constructor, everything belongs to the loop's thread.
    """

    def __init__(self, config: Config, model: Model | None = None) -> None:
        """`model`: served instead of the model that the settings name."""
        self.config = config
        self.vad = VadConfig(**config.vad.tunables())
        self.vad.check()
        self.gate = Gate(config.auth, config.server)
        self.audio_budget = AudioBudget(config.limits.total_buffered_audio_s)
        self.decoders = Decoders(_media_limits(config))
        self.admission = Admission(config.limits, config.auth, self)
        if config.limits.redis_url is not None:
            self.admission.redis = RedisCounts(config.limits.redis_url, config.limits.redis_fails == "open")
        self.detector = load_detector(config.vad.detector, config.vad.weights)
        self.turn = TurnConfig(public_name(config.turn.detector), **config.turn.tunables())
        self.turn.check()
        self.turn_judge = _turn_judge(config, self.detector.sample_rate)
        """None: there is no turn detector."""
        if config.inference.engine == "ray":
            logger.info("joining the Ray cluster at %r ...", config.ray.address)
        elif model is None:
            self.config = config = _with_chosen_model(config)
            logger.info("loading model %r ...", config.model.name)
        self.engine = make_engine(_engine_settings(config), model)
        self.model = self.engine.model
        self.session_options = SessionOptions(self.model)
        self.tally = Tally()
        self.metrics = Metrics(self, max_age_s=config.metrics.max_age_s)
        self.tracing = Tracing.from_environment()
        self.connections: set[Drainable] = set()
        """The accepted connections; each adds and removes itself."""
        self.started: StartedParts | None = None
        """None until `start`."""
        self.draining_until_s: float | None = None
        """When the server ends the sessions that still run, by the monotonic clock; None: the server does not drain."""
        self.calls_left_behind = False
        """Model calls still ran when `stop` returned."""
        self._phase = Phase.STARTING

    @property
    def scheduler(self) -> Scheduler:
        """RuntimeError before `start`."""
        return self._parts.scheduler

    @property
    def vad_batcher(self) -> VadBatcher:
        """RuntimeError before `start`."""
        return self._parts.vad_batcher

    @property
    def gives_text(self) -> bool | None:
        """Whether the results of the model carry text; None: unknown."""
        return self.engine.gives_text

    @property
    def streams(self) -> int:
        """The number of accepted connections."""
        return self.admission.streams

    @property
    def queue_wait_s(self) -> float:
        """How long calls wait for the model at the moment, in seconds. RuntimeError before `start`."""
        return self.scheduler.queue_wait_s

    @property
    def buffered_audio_is_full(self) -> bool:
        """The audio of all streams that waits for the model has reached its limit."""
        return self.audio_budget.is_full

    @property
    def not_ready(self) -> str | None:
        """Why the server accepts no new stream, for people; None when it does."""
        if self._phase is Phase.SERVING and not self.scheduler.making_progress:
            return "no worker makes progress"
        return self._phase.reason

    @property
    def public_limits(self) -> dict[str, Any]:
        """The limits in the `started` notice, by the names of their settings."""
        return {name: getattr(self.config.limits, name) for name in PUBLIC_LIMITS}

    async def start(self) -> None:
        """Starts the scheduler and warms the model up. Raises ModelLoadError when the model does not become ready."""
        inference, loop = self.config.inference, asyncio.get_running_loop()
        scheduler = Scheduler(
            self.engine,
            loop,
            inference.max_jobs,
            max_seconds=inference.max_seconds,
            stream_jobs=inference.stream_jobs,
            stream_seconds=inference.stream_seconds,
            deadline_s=inference.deadline_s,
        )
        on_threads = self.engine.kind == "threads"  # Those of `async` have a watchdog of their own.
        watchdog = Watchdog(self.model.name if on_threads else None, self._call_counts)
        self.started = StartedParts(scheduler, VadBatcher(loop.call_soon), watchdog)
        scheduler.start()
        if self.turn_judge is not None:
            self.turn_judge.start(loop)
        if inference.warm_up:
            self._enter(Phase.WARMING_UP)
            logger.info("warming up model %r ...", self.model.name)
            self._await_warm_up(loop, SLOW_WARM_UP_S, SLOW_WARM_UP_S)
            try:
                await scheduler.warm_up()
            finally:
                self._slow_warm_up.cancel()
        self._warn_of_idle_turns()  # Now it is known whether the model gives text.
        watchdog.start()
        self._enter(Phase.SERVING)

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more work, and waits at most `timeout_s` seconds for running model calls. Works in every phase."""
        self._enter(Phase.STOPPING)
        await self.decoders.close()
        if self.started is None:  # the engine may have worker processes all the same
            stopped = await run_in_thread(lambda: self.engine.stop(timeout_s), "voxgate-engine-stop", "service")
        else:
            self.started.watchdog.stop()
            self.started.scheduler.close()
            stopped = await self.started.scheduler.wait_closed(timeout_s)
        self.calls_left_behind = not stopped
        if (judge := self.turn_judge) is not None:
            await run_in_thread(lambda: judge.stop(timeout_s), "voxgate-turn-stop", "service")
        if self.admission.redis is not None:
            await self.admission.redis.close()
        if self.tracing is not None:
            await self.tracing.stop()

    # The end of the server, step by step. Each step may be repeated without harm.

    def drain(self, grace_s: float) -> int:
        """Accepts no new stream and no new session; running sessions have `grace_s` seconds to finish. Returns the
        number of running sessions.
        """
        if self.draining_until_s is not None:
            return 0
        self._enter(Phase.DRAINING)
        self.draining_until_s = time.monotonic() + grace_s
        return sum([connection.drain(grace_s) for connection in list(self.connections)])

    def end_sessions(self) -> None:
        """Finishes the sessions that are still open."""
        for connection in list(self.connections):
            connection.end()

    def leave_clients(self) -> None:
        """Closes every connection, and drops the results that are still pending."""
        for connection in list(self.connections):
            connection.leave()

    @property
    def _parts(self) -> StartedParts:
        if self.started is None:
            raise RuntimeError("the service has not started")
        return self.started

    def _enter(self, phase: Phase) -> None:
        # A signal may end a server that is still starting: no later step of the start makes it ready again.
        self._phase = max(self._phase, phase)

    def _warn_of_idle_turns(self) -> None:
        vad, judge = self.vad, self.turn_judge
        if judge is None:
            return
        why = why_idle(
            self.turn,
            vad.silence_duration_ms,
            vad.suffix_padding_ms,
            needs_text=judge.needs_text,
            speculate_ms=self.config.vad.speculate_ms,
            gives_text=self.gives_text,
        )
        if why is not None:
            logger.warning("turn detector %r decides nothing by default: %s", self.turn.detector, why)

    def _await_warm_up(self, loop: asyncio.AbstractEventLoop, wait_s: float, elapsed_s: float) -> None:
        self._slow_warm_up = loop.call_later(wait_s, self._say_still_warming, loop, elapsed_s)

    def _say_still_warming(self, loop: asyncio.AbstractEventLoop, elapsed_s: float) -> None:
        logger.warning(
            "model %r is still warming up after %g s: its warm_up() or a trial call with a second of noise has not"
            " returned; the server accepts no streams before",
            *(self.model.name, elapsed_s),
        )
        self._await_warm_up(loop, elapsed_s, 2 * elapsed_s)

    def _call_counts(self) -> tuple[int, int]:
        """The number of model calls that run, and of those that have ended."""
        return self.scheduler.depths()["running"], self.engine.counts().batches


def _with_chosen_model(config: Config) -> Config:
    """The settings with the name of a model in place of `auto`."""
    if config.model.name != AUTO:
        return config
    choice = choose()
    logger.info("serving model %r, because %s", choice.name, choice.reason)
    return replace(config, model=replace(config.model, name=choice.name))


def _turn_judge(config: Config, sample_rate: int) -> TurnJudge | None:
    """`sample_rate`: Hz, of the audio that it gets."""
    turn = config.turn
    if not turn.detector:
        return None
    return TurnJudge(
        load_turn_detector(turn.detector),
        sample_rate,
        max_batch_size=turn.max_batch_size,
        max_questions=turn.max_questions,
        deadline_s=turn.deadline_ms / 1000,
    )


def _media_limits(config: Config) -> MediaLimits:
    return MediaLimits(**{name: getattr(config.media, name) for name in MediaLimits.__dataclass_fields__})


def _engine_settings(config: Config) -> EngineSettings:
    inference = config.inference
    return EngineSettings(
        model=config.model.name,
        options=config.model.options,
        engine=inference.isolation or inference.engine,
        threads=inference.threads,
        concurrency=inference.concurrency,
        processes=inference.processes,
        max_batch_size=inference.max_batch_size,
        max_batch_seconds=inference.max_batch_seconds,
        batch_window_s=inference.batch_window_ms / 1000,
        longest_job_s=max(LONGEST_SEGMENT_S, config.simple.max_chunk_s),
        deadline_s=inference.deadline_s,
        restart_backoff_s=inference.restart_backoff_s,
        warm_up=inference.warm_up,
        start_anyway=inference.start_anyway,
        ray=RayEngineSettings(**structs.asdict(config.ray)),
    )
