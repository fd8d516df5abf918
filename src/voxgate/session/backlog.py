"""Whether a session is too far behind to take more audio in: the model, or the client with its reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxgate.config import LimitsSettings
    from voxgate.service.audio_budget import Allowance
    from voxgate.session.routes import RouteHandler
    from voxgate.session.send_queue import SendQueue

__all__ = ["Backlog"]


class Backlog:
    """The limits that hold one open session back. Each has two bounds, so that reading does not flutter: audio waits
    from the upper one on, until it has fallen below the lower.
    """

    __slots__ = ("_allowance", "_handler", "_limits", "_max_pending", "_send_queue")

    def __init__(
        self,
        handler: RouteHandler,
        send_queue: SendQueue,
        allowance: Allowance,
        limits: LimitsSettings,
        max_pending: int,
    ) -> None:
        """`max_pending`: how many results may be outstanding. `allowance`: its share of the server's audio budget."""
        self._handler = handler
        self._send_queue = send_queue
        self._allowance = allowance
        self._limits = limits
        self._max_pending = max_pending

    @property
    def is_behind(self) -> bool:
        """No more audio should be taken in."""
        pending, backlog_s = self._handler.pending, self._handler.backlog_s
        self._allowance.hold(backlog_s)
        return (
            backlog_s >= self._limits.buffered_audio_s
            or (pending > 0 and self._allowance.is_too_large)  # a result will come, and lower it
            or pending >= self._max_pending
            or self._send_queue.is_full
        )

    @property
    def limit(self) -> str:
        """The name of the setting that makes `is_behind` true."""
        handler = self._handler
        if handler.backlog_s >= self._limits.buffered_audio_s:
            return "buffered_audio_s"
        if self._allowance.is_too_large:
            return "total_buffered_audio_s"
        return "stream_jobs" if handler.pending >= self._max_pending else "unsent_events"

    @property
    def has_caught_up(self) -> bool:
        """Audio may be taken in again."""
        handler = self._handler
        return (
            handler.backlog_s < self._limits.buffered_audio_s / 2
            and (self._allowance.is_small_again or handler.pending == 0)
            and handler.pending <= self._max_pending / 2
            and self._send_queue.has_room
        )

    def update(self) -> None:
        """Tells the server's audio budget how much audio of this session waits."""
        self._allowance.hold(self._handler.backlog_s)

    def close(self) -> None:
        """Returns its share of the server's audio budget."""
        self._allowance.close()
