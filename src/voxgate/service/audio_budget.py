"""A limit for the audio that waits for the model, shared fairly by all sessions."""

from __future__ import annotations

__all__ = ["AudioBudget", "Allowance"]


class AudioBudget:
    """Seconds of waiting audio over all sessions and their channels. On the loop's thread; every change is O(1)."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._n_allowances = 0
        self.total_s = 0.0

    @property
    def is_full(self) -> bool:
        return self.total_s >= self._limit_s

    def open(self, n_channels: int) -> Allowance:
        """The allowance of a new session with this many channels, until its `close`."""
        self._n_allowances += 1
        return Allowance(self, n_channels)


class Allowance:
    """The waiting audio of one session."""

    __slots__ = ("_budget", "_n_channels", "_own_s")

    def __init__(self, budget: AudioBudget, n_channels: int) -> None:
        self._budget = budget
        self._n_channels = n_channels
        self._own_s = 0.0

    def hold(self, backlog_s: float) -> None:
        """Sets the amount of audio that waits, per channel."""
        own_s = backlog_s * self._n_channels
        self._budget.total_s += own_s - self._own_s
        self._own_s = own_s

    @property
    def is_too_large(self) -> bool:
        """The budget is full and this session has its equal part of it or more: it must not read more audio now."""
        return self._budget.is_full and self._own_s * self._budget._n_allowances >= self._budget._limit_s

    @property
    def is_small_again(self) -> bool:
        """The session may read again."""
        return not self._budget.is_full or self._own_s * self._budget._n_allowances < self._budget._limit_s / 2

    def close(self) -> None:
        """The session has ended, or drops its audio."""
        self.hold(0.0)
        self._budget._n_allowances -= 1
        if not self._budget._n_allowances:
            self._budget.total_s = 0.0  # the rest is a rounding error
