"""Failures in the log: each kind once in full, its repetitions as a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from voxgate.runtime.counted import counted
from voxgate.runtime.throttle import Throttle, and_more

__all__ = ["FailureLog", "log_left_behind"]


def log_left_behind(logger: logging.Logger, n_running: int, model_name: str) -> None:
    """Logs that an engine stopped although calls of the model still run."""
    are, them = ("is", "it") if n_running == 1 else ("are", "them")
    logger.warning("%s of model %r %s still running: leaving %s behind", counted(n_running, "call"), model_name, are, them)


class FailureLog:
    """Logs a kind of failure with its stack at most once every `interval_s`, with the number of repetitions since the
    last line.

    Two failures are of one kind when their exceptions have the same type and were raised at the same place. A model
    that fails on every call for a day thus writes one stack a minute, and a new failure still shows at once. The log
    remembers about `max_kinds` kinds; beyond that it forgets the kind that it logged longest ago. Any thread.
    """

    def __init__(
        self,
        logger: logging.Logger,
        interval_s: float = 60.0,
        max_kinds: int = 128,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._throttle = Throttle(interval_s, max_kinds=max_kinds, clock=clock)

    def write(self, what: str, error: BaseException | None = None) -> None:
        """Logs `what`, with the stack of `error` if there is one. Without an error, `what` is the kind."""
        n_left_out = self._throttle.admit((what,) if error is None else _kind(error))
        if n_left_out is not None:
            self._logger.error("%s%s", what, and_more(n_left_out), exc_info=error)


def _kind(error: BaseException) -> tuple[object, ...]:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return (type(error),)
    return (type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno)
