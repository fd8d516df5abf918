"""The engine of worker processes: for models that crash, hang or hold the GIL."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from voxgate.errors import ModelLoadError
from voxgate.inference.engine.base import EngineCounts, JobSource
from voxgate.inference.engine.processes.pool import Pool
from voxgate.inference.engine.processes.process import QUIT_TIMEOUT_S
from voxgate.inference.engine.processes.settings import ProcessSettings
from voxgate.inference.engine.processes.slot import WorkerSlot
from voxgate.models.base import Model
from voxgate.runtime.counted import counted
from voxgate.runtime.time_limit import TimeLimit

__all__ = ["ProcessEngine"]

logger = logging.getLogger("voxgate.inference.engine")

_SHUTTING_DOWN = "The server is shutting down"


class ProcessEngine:
    """N worker processes, each with its own copy of the model, each running one batch at a time.

    The server's process never loads the model. Construction starts nothing; `load` comes before `start`.
    """

    def __init__(self, settings: ProcessSettings, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: the scheduler's, in seconds."""
        self.settings = settings
        self.pool = Pool(settings.spec, clock)
        self._slots: list[WorkerSlot] = []

    # --- the model ---

    @property
    def model(self) -> Model:
        """Described by the first worker. AssertionError before `load`."""
        if self.pool.model is None:
            raise AssertionError("load() comes first")
        return self.pool.model

    @property
    def kind(self) -> str:
        return "process"

    @property
    def gives_text(self) -> bool | None:
        with self.pool.changed:
            return self.pool.gives_text

    @property
    def concurrency(self) -> int:
        return self.settings.concurrency

    # --- start and end ---

    def load(self) -> Model:
        """Starts the first worker and returns the description of the model when that has loaded it.

        Blocks, possibly for long. Raises ModelLoadError when the model cannot be loaded.
        """
        if self._slots:
            raise AssertionError("the engine was loaded twice")
        pool, slot = self.pool, WorkerSlot(self.settings, self.pool, 0)
        self._slots.append(slot)
        slot.start()
        with pool.changed:
            pool.changed.wait_for(lambda: pool.model is not None or slot.is_gone)
            model = pool.model
        if model is None:
            raise ModelLoadError(slot.last_failure)
        return model

    def start(self, source: JobSource) -> None:
        """Starts the other workers. Each worker takes work once it is warm."""
        pool = self.pool
        if pool.source is not None:
            raise AssertionError("the engine was started twice")
        n_slots = self.concurrency
        logger.info("model %r runs in %s", self.model.name, counted(n_slots, "worker process"))
        others = [WorkerSlot(self.settings, pool, index) for index in range(1, n_slots)]
        with pool.changed:
            pool.source = source
            self._slots += others
            pool.changed.notify_all()
        for slot in others:
            slot.start()

    def warm_up(self) -> float:
        """Waits until every worker is warm, or has failed while another one is warm.

        Raises ModelLoadError when the model cannot be warmed up, or when no worker survives the warm-up.
        """
        pool = self.pool
        started_s = time.perf_counter()

        def is_over() -> bool:
            slots = self._slots
            if pool.stopping.is_set() or all(slot.is_broken or slot.is_refused for slot in slots):
                return True
            return any(slot.is_serving for slot in slots) and not any(slot.is_fresh for slot in slots)

        with pool.changed:
            pool.changed.wait_for(is_over)
            is_serving = any(slot.is_serving for slot in self._slots)
        if not is_serving:
            raise ModelLoadError(self._slots[0].last_failure or _SHUTTING_DOWN)
        elapsed_s = time.perf_counter() - started_s
        logger.info("model %r is warm after %.2f s", self.model.name, elapsed_s)
        return elapsed_s

    def stop(self, timeout_s: float | None = None) -> bool:
        """As in the seam; after the timeout it kills the workers that still run, whose calls then fail, so that no
        process stays behind.
        """
        pool = self.pool
        with pool.changed:
            pool.stopping.set()
            pool.changed.notify_all()
            unused = [slot for slot in self._slots if not slot.is_serving]
        for slot in unused:
            slot.kill()
        limit = TimeLimit(timeout_s)
        for slot in self._slots:
            slot.join(limit.left_s)
        late = [slot for slot in self._slots if slot.is_alive]
        for slot in late:
            slot.kill()
        for slot in late:
            slot.join(QUIT_TIMEOUT_S)
        if late:
            logger.warning("killed %s of model %r that had not ended", counted(len(late), "worker"), pool.name)
        return not late

    # --- its condition ---

    @property
    def ready(self) -> bool:
        with self.pool.changed:
            return any(slot.is_alive and (slot.is_serving or slot.is_fresh) for slot in self._slots)

    @property
    def stalled_s(self) -> float:
        now_s = self.pool.clock()
        with self.pool.changed:
            since_s = [slot.busy_since_s for slot in self._slots]
        return max(0.0, now_s - max((math.inf if busy_s is None else busy_s for busy_s in since_s), default=now_s))

    @property
    def pids(self) -> list[int]:
        """Of the worker processes that exist at this moment."""
        with self.pool.changed:
            return [slot.pid for slot in self._slots if slot.pid]

    def counts(self) -> EngineCounts:
        return self.pool.counts()
