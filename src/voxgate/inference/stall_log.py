"""The log lines about a model that does not answer in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from voxgate.runtime.counted import counted
from voxgate.runtime.throttle import Throttle

__all__ = ["StallLog"]

logger = logging.getLogger("voxgate.inference.scheduler")

_INTERVAL_S = 60
"""Between two warnings: a model that hangs does so for every stream."""

_STUCK_CHECK_S = 1.0
"""How long after a deadline the engine is checked for progress."""


class StallLog:
    """Warns of calls without an answer, and reports an engine that makes no progress. On the loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, model_name: str, deadline_s: float, makes_progress: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._model_name = model_name
        self._deadline_s = deadline_s
        self._makes_progress = makes_progress
        self._throttle = Throttle(_INTERVAL_S)
        self._is_stuck = False
        self._is_stopped = False

    def expired(self, n_expired: int, now_s: float) -> None:
        """Calls have just passed their deadline; `n_expired`: since the start."""
        if self._throttle.admit(now_s=now_s) is not None:
            logger.warning(
                "model %r gave no answer within %g s (inference.deadline_s): %s so far",
                *(self._model_name, self._deadline_s, counted(n_expired, "call")),
            )
        if not self._is_stuck:
            self._loop.call_later(_STUCK_CHECK_S, self._check)

    def stop(self) -> None:
        """The server is shutting down: an engine without progress is no longer worth a line."""
        self._is_stopped = True

    def _check(self) -> None:
        """Logs once each time that progress ends; from then on the server is not ready."""
        was_stuck, self._is_stuck = self._is_stuck, not self._makes_progress()
        if self._is_stuck and not was_stuck and not self._is_stopped:
            logger.error(
                "no worker makes progress: every call of model %r has run for longer than it may, and a thread cannot "
                'be ended; no new streams are taken in (inference.engine = "process" ends such calls)',
                self._model_name,
            )
