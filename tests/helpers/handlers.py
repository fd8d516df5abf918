"""A route handler without a server: events and jobs are plain lists, and a test decides when the model answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from helpers.scheduler_bench import FakeLoop
from voxgate.config import load_config
from voxgate.errors import Overloaded, VoxgateError
from voxgate.inference.engine.base import Job
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Event
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes import Route, open_route
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector
from voxgate.vad.turns import TurnConfig

__all__ = ["DETECTORS", "Handled", "InstantScheduler", "Turns", "count_and_sum", "open_handler"]

DETECTORS = {name: load_detector(name) for name in ("energy", "silero")}


class Turns:
    """The turns of an event loop, which end when a test says so."""

    def __init__(self) -> None:
        self._soon: list[Any] = []
        self.vad_batcher = VadBatcher(self._soon.append)

    def end(self) -> None:
        soon, self._soon[:] = self._soon[:], []
        for callback in soon:
            callback()


def count_and_sum(job: Job) -> Mapping[str, Any] | VoxgateError:
    """A result that depends on every sample."""
    return {"count": len(job.audio), "sum": float(np.float64(job.audio).sum())}


class InstantScheduler:
    """Answers on request, in the order of the requests; keeps all audio it receives."""

    room = 1 << 30  # how many jobs it takes at once
    clock = staticmethod(time.monotonic)
    queue_wait_s = 0.0

    def __init__(self, model: Callable[[Job], Mapping[str, Any] | VoxgateError] = count_and_sum) -> None:
        self.jobs: list[Job] = []
        self.running: set[Job] = set()
        self.audio: list[np.ndarray] = []
        self.promoted: list[Job] = []
        self._model = model

    def submit(self, job: Job) -> None:
        if len(self.jobs) >= self.room:
            raise Overloaded("full")
        self.jobs.append(job)
        self.audio.append(job.audio)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def drop(self, job: Job) -> None:
        job.dropped = True

    def withdraw(self, job: Job) -> bool:
        if job not in self.jobs or job in self.running:
            return False
        self.jobs.remove(job)
        job.cancelled = True
        return True

    def promote(self, job: Job) -> None:
        assert job in self.running
        self.promoted.append(job)

    def cancel(self, job: Job) -> bool:
        job.cancelled = True
        return self.withdraw(job)

    def answer(self, index: int = 0) -> None:
        job = self.jobs.pop(index)
        self.running.discard(job)
        outcome = self._model(job)
        if isinstance(outcome, VoxgateError):
            job.error = outcome
        else:
            job.result = Output.of(outcome)
        job.batch_size = 1
        job.on_done(job)


class TimelessScheduler(InstantScheduler):
    """Its timers fire when the test says so."""

    def __init__(self, model: Callable[[Job], Mapping[str, Any] | VoxgateError]) -> None:
        super().__init__(model)
        self._loop = FakeLoop()

    @property
    def loop(self) -> Any:
        return self._loop


class Handled:
    """One session of a handler. Every message is a turn of the event loop."""

    def __init__(
        self, route: Route, start: Start, detector: str, model: Any, judge: Any, overrides: dict[str, Any]
    ) -> None:
        self.config = load_config(environ={}, overrides=overrides)
        self.events: list[Event] = []
        self.scheduler = InstantScheduler(model) if judge is None else TimelessScheduler(model)
        self.tally = Tally()
        self.n_detectors = 0
        self._turns = Turns()
        factory = DETECTORS[detector]

        def create(channels: int) -> Any:
            self.n_detectors += 1
            return factory.create(channels)

        parts: Any = SimpleNamespace(
            config=self.config,
            scheduler=self.scheduler,
            vad_batcher=self._turns.vad_batcher,
            detector=SimpleNamespace(
                create=create, sample_rate=factory.sample_rate, frame_samples=factory.frame_samples
            ),
            vad=VadConfig(**self.config.vad.tunables()),
            model=SimpleNamespace(sample_rate=16_000),
            tally=self.tally,
            turn=TurnConfig("fake" if judge is not None else "", **self.config.turn.tunables()),
            turn_judge=judge,
        )
        self.handler = open_route(route, parts, start, self.events.append, lambda: None)

    @property
    def jobs(self) -> list[Job]:
        """Those that are not answered."""
        return self.scheduler.jobs

    @property
    def audio(self) -> list[np.ndarray]:
        """The audio of all jobs so far."""
        return self.scheduler.audio

    def feed(self, data: bytes) -> None:
        self.handler.feed(data)
        self._turns.end()

    def answer_all(self) -> None:
        while self.jobs:
            self.scheduler.answer()


def open_handler(
    route: Route,
    start: Start,
    detector: str = "energy",
    *,
    model: Any = count_and_sum,
    judge: Any = None,
    **overrides: Any,
) -> Handled:
    """`model`: what a job is answered with. `judge`: of turns. `overrides`: settings, by name."""
    if judge is not None:
        overrides = {"turn.detector": "a_test:Judge", **overrides}
    return Handled(route, start, detector, model, judge, overrides)
