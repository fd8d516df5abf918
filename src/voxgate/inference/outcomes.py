"""How a call can end, and the errors with which the scheduler itself ends one."""

from __future__ import annotations

from typing import ClassVar, Final

from voxgate.errors import InferenceError, VoxgateError

__all__ = ["CALL_OUTCOMES", "SHUTTING_DOWN", "ShuttingDown", "TimedOut", "WorkerDied", "call_outcome"]

CALL_OUTCOMES: Final = ("ok", "refused", "failed", "timeout", "died", "shutdown", "cancelled")

SHUTTING_DOWN: Final = "The server is shutting down"


class _SchedulerError(InferenceError):
    """An error of the scheduler and not of the model."""

    outcome: ClassVar[str]


class TimedOut(_SchedulerError):
    outcome = "timeout"

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"The model gave no answer within {deadline_s:g} s")


class WorkerDied(_SchedulerError):
    outcome = "died"

    def __init__(self) -> None:
        super().__init__("The worker that ran the model died")


class ShuttingDown(_SchedulerError):
    outcome = "shutdown"

    def __init__(self) -> None:
        super().__init__(SHUTTING_DOWN)


def call_outcome(error: VoxgateError | None) -> str:
    """The member of CALL_OUTCOMES for a call that was answered with `error`, or with a result."""
    if error is None:
        return "ok"
    if isinstance(error, _SchedulerError):
        return error.outcome
    return "refused" if isinstance(error, InferenceError) else "failed"
