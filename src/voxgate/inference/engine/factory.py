"""Chooses the engine: threads of the server's process, an event loop of its own, worker processes, or a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from voxgate.errors import ConfigError
from voxgate.inference.engine.asynchronous import AsyncEngine
from voxgate.inference.engine.base import Engine
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.ray import RayEngine, RaySettings
from voxgate.inference.engine.threads import ThreadEngine
from voxgate.models.base import Model
from voxgate.models.loader import find_model, load_model

__all__ = ["EngineSettings", "make_engine"]

logger = logging.getLogger("voxgate.inference.engine")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Which model runs where. The fields are the settings of the same names; see docs/configuration.md."""

    model: str
    """A name or ``pkg.module:Name``."""
    options: Mapping[str, Any]
    engine: str
    """`auto`, `threads`, `process`, `async` or `ray`."""
    threads: int
    concurrency: int
    processes: int
    max_batch_size: int
    max_batch_seconds: float
    batch_window_s: float
    longest_job_s: float
    """The longest audio of one call."""
    deadline_s: float
    restart_backoff_s: float
    warm_up: bool
    start_anyway: bool = False
    ray: RaySettings = field(default_factory=RaySettings)
    """Of the engine `ray`, which takes the batches and the backoff from the other fields."""


def make_engine(settings: EngineSettings, model: Model | None = None) -> Engine:
    """The engine with its model loaded, not started. `model`: an object to serve in place of the model of the settings.

    A model that holds the GIL runs in worker processes even when the settings say threads; `auto` runs coroutines on an
    event loop. Blocks while the model loads. Raises ConfigError for settings that do not fit the model, and
    ModelLoadError when it cannot be loaded.
    """
    if model is not None:
        if settings.engine in ("process", "ray"):
            raise ConfigError(
                f"inference.engine = {settings.engine!r} expects a model that is named in the settings: an object that"
                " was made in this process cannot move into another"
            )
        return _in_this_process(settings, model)
    if settings.engine == "process":
        return _processes(settings)
    if settings.engine == "ray":
        return _ray(settings)
    if settings.engine != "async" and getattr(find_model(settings.model), "holds_gil", False) is True:
        return _processes(settings, is_automatic=True)
    model = load_model(settings.model, settings.options)
    if settings.engine != "async" and model.holds_gil:  # Known only once it was made.
        model.close()
        return _processes(settings, is_automatic=True)
    return _in_this_process(settings, model)


def _in_this_process(settings: EngineSettings, model: Model) -> Engine:
    if settings.engine == "async" or (settings.engine == "auto" and model.asynchronous):
        return AsyncEngine(
            model,
            concurrency=settings.concurrency,
            max_batch_size=settings.max_batch_size,
            max_batch_seconds=settings.max_batch_seconds,
            batch_window_s=settings.batch_window_s,
            start_anyway=settings.start_anyway,
        )
    return _threads(settings, model)


def _threads(settings: EngineSettings, model: Model) -> ThreadEngine:
    return ThreadEngine(
        model,
        threads=settings.threads,
        max_batch_size=settings.max_batch_size,
        max_batch_seconds=settings.max_batch_seconds,
        batch_window_s=settings.batch_window_s,
        start_anyway=settings.start_anyway,
    )


def _processes(settings: EngineSettings, is_automatic: bool = False) -> ProcessEngine:
    if is_automatic:
        logger.info(
            "model %r holds the GIL while it computes: it runs in worker processes, as with inference.engine ="
            " 'process'",
            settings.model,
        )
    engine = ProcessEngine(
        ProcessSettings(
            settings.model,
            settings.options,
            processes=settings.processes,
            max_batch_size=settings.max_batch_size,
            max_batch_seconds=settings.max_batch_seconds,
            batch_window_s=settings.batch_window_s,
            longest_job_s=settings.longest_job_s,
            deadline_s=settings.deadline_s,
            restart_backoff_s=settings.restart_backoff_s,
            warm_up=settings.warm_up,
            start_anyway=settings.start_anyway,
        )
    )
    engine.load()
    return engine


def _ray(settings: EngineSettings) -> RayEngine:
    engine = RayEngine(
        replace(
            settings.ray,
            max_batch_size=settings.max_batch_size,
            max_batch_seconds=settings.max_batch_seconds,
            batch_window_s=settings.batch_window_s,
            restart_backoff_s=settings.restart_backoff_s,
        )
    )
    engine.load()
    return engine
