"""What went wrong with a call that was accepted."""

from __future__ import annotations

from typing import Final

from voxgate.errors import InferenceError
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error

__all__ = ["Failure"]

_REASONS: Final = {
    InferenceError.code: CloseReason.INTERNAL,
    **{reason.value: reason for reason in CloseReason if reason is not CloseReason.COMPLETED},
}


class Failure:
    """The first error of a call. Its messages have no place for errors: the status has."""

    def __init__(self) -> None:
        self._close: Close | None = None

    def __bool__(self) -> bool:
        return self._close is not None

    def add(self, error: Error) -> None:
        if self._close is None:
            self._close = Close(_REASONS.get(error.code, CloseReason.INVALID), error.message)

    def end_of(self, close: Close) -> Close:
        """The end of the call whose session ends with `close`."""
        return self._close if self._close is not None and close.reason is CloseReason.COMPLETED else close
