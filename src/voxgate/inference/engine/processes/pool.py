"""What the engine of worker processes and its slots share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from voxgate.inference.engine.base import EngineCounts, JobOutcome, JobSource
from voxgate.inference.engine.processes.messages import Loaded
from voxgate.inference.engine.processes.remote_model import RemoteModel

__all__ = ["Pool"]


class Pool:
    """The model's description, the source of jobs, and the counts. Any thread."""

    def __init__(self, spec: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock`: the scheduler's, in seconds."""
        self.clock = clock
        self.changed = threading.Condition()
        """Guards this object and the states of the slots; notified of every change."""
        self.stopping = threading.Event()
        self.source: JobSource | None = None
        self.model: RemoteModel | None = None
        self.gives_text: bool | None = None
        """As the model declares, or as its trial calls showed."""
        self.has_served = False
        """Whether any worker was ever ready for work."""
        self._spec = spec
        self._counts = EngineCounts()

    @property
    def name(self) -> str:
        """The model's name, for logs; its spec as long as it is not loaded."""
        return self._spec if self.model is None else self.model.name

    def describe(self, loaded: Loaded) -> RemoteModel:
        """A worker has loaded the model; the first one to do so describes it for all."""
        with self.changed:
            if self.model is None:
                self.model = RemoteModel(loaded)
                self.gives_text = loaded.gives_text
                self.changed.notify_all()
            return self.model

    def note_text(self, gives_text: bool | None) -> None:
        """The result of a trial call."""
        with self.changed:
            if self.gives_text is None:
                self.gives_text = gives_text

    def add(self, crashes: int = 0, kills: int = 0, restarts: int = 0) -> None:
        with self.changed:
            self._counts.crashes += crashes
            self._counts.kills += kills
            self._counts.restarts += restarts
            self.changed.notify_all()

    def add_batch(self, outcomes: Sequence[JobOutcome], retried: bool) -> None:
        with self.changed:
            self._counts.add_batch(outcomes, retried)
            self.changed.notify_all()

    def counts(self) -> EngineCounts:
        with self.changed:
            return replace(self._counts)
