"""The life of a server process, phase by phase."""

from __future__ import annotations

import enum

__all__ = ["Phase"]


class Phase(enum.IntEnum):
    """A process goes through its phases in this order. It may skip some, and never goes back."""

    STARTING = 0
    WARMING_UP = 1
    SERVING = 2
    DRAINING = 3
    STOPPING = 4

    @property
    def reason(self) -> str | None:
        """Why no new stream is accepted, for people; None while the server accepts them."""
        return _REASONS[self]


_REASONS = {
    Phase.STARTING: "starting",
    Phase.WARMING_UP: "warming up the model",
    Phase.SERVING: None,
    Phase.DRAINING: "draining",
    Phase.STOPPING: "stopping",
}
