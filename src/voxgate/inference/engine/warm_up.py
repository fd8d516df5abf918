"""The warm-up of a model that runs in the server's process."""

from __future__ import annotations

import logging
import threading
import time

from voxgate.inference.engine.base import BatchLimits
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.trial import prepare
from voxgate.models.adapter import declares_text
from voxgate.models.base import Model

__all__ = ["WarmUp"]

logger = logging.getLogger("voxgate.inference.engine")


class WarmUp:
    """Prepares a model, and knows what its trial calls showed. Any thread."""

    def __init__(self, model: Model, failures: FailureLog, limits: BatchLimits, start_anyway: bool) -> None:
        """start_anyway: also when the results of the trial calls cannot be sent."""
        self._model = model
        self._failures = failures
        self._limits = limits
        self._start_anyway = start_anyway
        self._gives_text = declares_text(model)
        self._running = threading.Lock()
        self._stopping = False

    @property
    def gives_text(self) -> bool | None:
        """Whether the results carry text, as the model declares or as the trial calls showed; None: unknown."""
        return self._gives_text

    def run(self, model: Model) -> float:
        """As `trial.prepare`; returns the seconds that it took. `model`: the same model, as this thread can call it."""
        with self._running:
            started_s = time.perf_counter()
            text = prepare(model, self._failures, self._limits, lambda: self._stopping, self._start_anyway)
            if self._gives_text is None:
                self._gives_text = text
            elapsed_s = time.perf_counter() - started_s
        logger.info("model %r is warm after %.2f s", self._model.name, elapsed_s)
        return elapsed_s

    def stop(self) -> None:
        """No further trial call begins."""
        self._stopping = True

    def wait(self, timeout_s: float | None) -> bool:
        """Waits until no warm-up runs: one that the server did not wait for may still be in the model. False: after
        the timeout it still runs.
        """
        if not self._running.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        self._running.release()
        return True
