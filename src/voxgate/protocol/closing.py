"""How a stream ends, on no wire in particular. Each endpoint maps a reason to its own codes and statuses."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal, TypeAlias

from msgspec import Struct

__all__ = ["END_REASONS", "LEFT", "LOST", "Close", "CloseReason", "EndReason"]


class CloseReason(StrEnum):
    """Why the server closes a stream. Those that an error causes have the error's code as their value."""

    COMPLETED = "completed"
    """The client asked for the end, and all results were sent."""
    INVALID = "invalid"
    """The client broke the protocol."""
    TOO_LARGE = "too_large"
    """A message exceeded a size limit."""
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    """The server shuts down."""
    INTERNAL = "internal"
    """A bug in the server."""


class Close(Struct, frozen=True, gc=False):
    """Send everything that waits, then close the stream. `text` explains the reason to people; it may be empty.
    `limit`: the setting below `limits` that took effect; None: none did.
    """

    reason: CloseReason
    text: str = ""
    limit: str | None = None


LEFT: Final = "left"
"""The client closed the connection."""

LOST: Final = "lost"
"""The connection broke without a goodbye."""

EndReason: TypeAlias = CloseReason | Literal["left", "lost"]
"""Why a stream ended, whichever side ended it."""

END_REASONS: Final = (*(reason.value for reason in CloseReason), LEFT, LOST)
