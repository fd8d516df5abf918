"""What all streams of a server share: the settings, the model on its engine, the detector with its weights."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from voxgate.config import Config
from voxgate.engine.threads import ThreadEngine
from voxgate.models import Model, load_model
from voxgate.scheduler import Scheduler
from voxgate.vad import VadConfig, load_detector

logger = logging.getLogger(__name__)


class Service:
    """Made once per server process, before its loop runs. Everything that can be wrong with the settings, the model or the
    detector's weights is found out here: ConfigError.

    `scheduler` exists between `start` and `stop`.
    """

    scheduler: Scheduler

    def __init__(self, config: Config, model: Model | None = None) -> None:
        """`model`: served in place of the one that the settings name."""
        self.config = config
        self.vad = VadConfig(**config.vad.tunables())
        self.vad.check()
        self.detector = load_detector(config.vad.detector, config.vad.weights)
        self.model = model or load_model(config.model.name, config.model.options)
        self.engine = ThreadEngine(self.model, config.inference.threads, config.inference.max_batch_size)
        self.streams = 0
        self.not_ready: str | None = "starting"

    @property
    def public_limits(self) -> dict[str, Any]:
        """The limits a client should know, as the `started` notice tells them."""
        limits = self.config.limits
        return {
            "channels": limits.channels,
            "message_bytes": limits.message_bytes,
            "idle_timeout_s": limits.idle_timeout_s,
            "buffered_audio_s": limits.buffered_audio_s,
        }

    async def start(self) -> None:
        """Brings the model up; returns when it is warm. Raises ModelLoadError when it cannot be made ready."""
        self.scheduler = Scheduler(self.engine, asyncio.get_running_loop(), self.config.inference.max_jobs)
        self.scheduler.start()
        if self.config.inference.warm_up:
            self.not_ready = "warming up the model"
            await self.scheduler.warm_up()
        self.not_ready = None

    async def stop(self, timeout_s: float) -> None:
        """Takes no more work, and waits at most `timeout_s` for running model calls."""
        self.not_ready = "stopping"
        self.scheduler.close()
        await self.scheduler.wait_closed(timeout_s)
