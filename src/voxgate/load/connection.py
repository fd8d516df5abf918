"""One connection of the load generator, on whatever wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from voxgate.protocol.events import Event

if TYPE_CHECKING:
    from .websocket import Target

__all__ = ["NO_CODE", "Clock", "Connection", "Frame"]

Clock = Callable[[], float]

Frame: TypeAlias = bytes | str
"""What `Connection.write` takes: made once by the material, and sent by every stream. A str is a request on a wire that
frames by itself.
"""

NO_CODE: Final = 1005


class Connection(ABC):
    """Connects and receives events. Subclasses of a wire's class implement `opened`, `received` and `ended`."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self.target = target
        self.clock = clock
        self.began_s = 0.0
        self.connect_s: float | None = None
        """From the first packet of the connection to the end of the upgrade; None before."""
        self.status: int | None = None
        """HTTP status of the answer to the upgrade."""
        self.retry_after_s: int | None = None
        """The Retry-After of a refusal."""
        self.refusal_reason = ""
        """The reason in the body of a refusal; empty for none."""
        self.close_code: int | None = None
        """The code of the server's close frame, 1005 for a frame without one; None before it."""
        self.failure: str | None = None
        """Why the connection ended without a close frame, in words."""
        self.is_over = False

    @property
    def has_ended_well(self) -> bool:
        """Whether the server closed normally; the close frame of streamer-template has no code."""
        return self.close_code in (1000, NO_CODE)

    def opened(self) -> None:
        raise NotImplementedError

    def received(self, event: Event, now_s: float) -> None:
        raise NotImplementedError

    def ponged(self) -> None:
        """The server has answered a ping."""
        return None

    def ended(self) -> None:
        raise NotImplementedError

    @abstractmethod
    async def connect(self) -> None:
        """Returns once the connection is open or has failed."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Sends soon."""

    @abstractmethod
    def unsent_bytes(self) -> int:
        """Bytes that wait here, because the server does not read."""

    @abstractmethod
    def abort(self, failure: str) -> None:
        """Drops the connection, with `failure` as the reason."""

    def _fail(self, failure: str) -> None:
        if not self.is_over:
            self.failure = failure
            self._end()

    def _end(self) -> None:
        self.is_over = True
        self.ended()
