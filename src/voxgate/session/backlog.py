"""Whether a session is too far behind to take more audio in: the model, or the client with its reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxgate.config import LimitsSettings
    from voxgate.service.audio_budget import Allowance
    from voxgate.session.routes import Runner
    from voxgate.session.send_queue import SendQueue

__all__ = ["Backlog"]


class Backlog:
    """The limits that hold one open session back. Each has two bounds, so that reading does not flutter: audio waits
    from the upper one on, until it has fallen below the lower.
    """

    __slots__ = ("_allowance", "_limits", "_max_owed", "_runner", "_send_queue")

    def __init__(
        self, runner: Runner, send_queue: SendQueue, allowance: Allowance, limits: LimitsSettings, max_owed: int
    ) -> None:
        """`max_owed`: how many results may be outstanding. `allowance`: its share of the server's audio budget."""
        self._runner = runner
        self._send_queue = send_queue
        self._allowance = allowance
        self._limits = limits
        self._max_owed = max_owed

    @property
    def is_behind(self) -> bool:
        """No more audio should be taken in."""
        owed, backlog_s = self._runner.owed, self._runner.backlog_s
        self._allowance.hold(backlog_s)
        return (
            backlog_s >= self._limits.buffered_audio_s
            or (owed > 0 and self._allowance.is_too_large)  # a result will come, and lower it
            or owed >= self._max_owed
            or self._send_queue.is_full
        )

    @property
    def limit(self) -> str:
        """The name of the setting that makes `is_behind` true."""
        runner = self._runner
        if runner.backlog_s >= self._limits.buffered_audio_s:
            return "buffered_audio_s"
        if self._allowance.is_too_large:
            return "total_buffered_audio_s"
        return "stream_jobs" if runner.owed >= self._max_owed else "unsent_events"

    @property
    def has_caught_up(self) -> bool:
        """Audio may be taken in again."""
        runner = self._runner
        return (
            runner.backlog_s < self._limits.buffered_audio_s / 2
            and (self._allowance.is_small_again or runner.owed == 0)
            and runner.owed <= self._max_owed / 2
            and self._send_queue.has_room
        )

    def update(self) -> None:
        """Tells the server's audio budget how much audio of this session waits."""
        self._allowance.hold(self._runner.backlog_s)

    def close(self) -> None:
        """Returns its share of the server's audio budget."""
        self._allowance.close()
