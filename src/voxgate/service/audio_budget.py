"""The audio of all streams that waits for the model, and who has more than its allowance of it."""

from __future__ import annotations

__all__ = ["AudioBudget", "Allowance"]


class AudioBudget:
    """Seconds of audio over all sessions and their channels. On the loop's thread; every change is O(1)."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._n_shares = 0
        self.total_s = 0.0

    @property
    def is_full(self) -> bool:
        return self.total_s >= self._limit_s

    def open(self, n_channels: int) -> Allowance:
        """For a session of so many channels, until `Allowance.close`."""
        self._n_shares += 1
        return Allowance(self, n_channels)


class Allowance:
    """What one session has of it."""

    __slots__ = ("_all", "_n_channels", "_own_s")

    def __init__(self, all_: AudioBudget, n_channels: int) -> None:
        self._all = all_
        self._n_channels = n_channels
        self._own_s = 0.0

    def hold(self, backlog_s: float) -> None:
        """So much of each channel waits now."""
        own_s = backlog_s * self._n_channels
        self._all.total_s += own_s - self._own_s
        self._own_s = own_s

    @property
    def is_too_large(self) -> bool:
        """All is full, and this one has more of it than the others: it has to work that off first."""
        return self._all.is_full and self._own_s * self._all._n_shares >= self._all._limit_s

    @property
    def is_small_again(self) -> bool:
        """It may have more."""
        return not self._all.is_full or self._own_s * self._all._n_shares < self._all._limit_s / 2

    def close(self) -> None:
        """The session is over, or its audio is dropped."""
        self.hold(0.0)
        self._all._n_shares -= 1
        if not self._all._n_shares:
            self._all.total_s = 0.0  # what rounding has left
