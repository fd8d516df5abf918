"""The timers of one session: silence, its longest life, an utterance that stalls, and progress notices."""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

__all__ = ["PROGRESS_S", "STALL_SURE_S", "Limits", "Timers", "Watched"]

PROGRESS_S: Final = 1.0

STALL_SURE_S: Final = 0.05
"""Audio that seems to have stopped may wait in the socket because our own loop was held. By then it has been read."""


class Limits(Protocol):
    """The settings that the timers need, a part of config.LimitsSettings."""

    @property
    def start_timeout_s(self) -> float: ...
    @property
    def idle_timeout_s(self) -> float: ...
    @property
    def session_s(self) -> float: ...


class Watched(Protocol):
    """What the timers look at, and what they call. Times are those of the event loop."""

    @property
    def last_message_s(self) -> float:
        """When the last message came, or the last result."""
        ...

    @property
    def last_audio_s(self) -> float: ...

    @property
    def timeout_kind(self) -> Literal["start", "idle"]: ...
    @property
    def is_waited_for(self) -> bool:
        """The client waits for the server, so its silence does not count."""
        ...

    @property
    def is_handling(self) -> bool:
        """Messages wait in the inbox, perhaps audio among them."""
        ...

    @property
    def is_speaking(self) -> bool:
        """An utterance is open."""
        ...

    def on_silence(self, kind: Literal["start", "idle"]) -> None:
        """The client said nothing for the whole timeout."""

    def on_end_of_life(self) -> None:
        """The stream is as old as it may be."""

    def on_stall(self) -> bool:
        """Close the open utterance: its audio has stopped coming. False: the session is over."""

    def on_progress(self) -> None:
        """Send a progress notice."""


class Timers:
    """Timers are not set anew with every message: each one looks, when it fires, at when the last message came."""

    __slots__ = ("_life", "_limits", "_loop", "_progress", "_progress_s", "_silence", "_stall", "_stall_s", "_watched")

    def __init__(
        self,
        watched: Watched,
        limits: Limits,
        stall_s: float,
        progress_s: float = PROGRESS_S,
        waits_for_start: bool = True,
    ) -> None:
        """Starts the timers of silence and life. `stall_s`: when an utterance counts as stalled; 0: never.
        `progress_s`: between two progress notices. `waits_for_start`: False: the start may come at any time.
        """
        self._watched: Watched | None = watched
        self._limits = limits
        self._stall_s = stall_s
        self._progress_s = progress_s
        self._loop = asyncio.get_running_loop()
        start_s = limits.start_timeout_s if waits_for_start else limits.session_s
        self._silence = self._loop.call_later(start_s, self._check_silence)
        self._life = self._loop.call_later(limits.session_s, watched.on_end_of_life)
        self._stall: asyncio.TimerHandle | None = None
        self._progress: asyncio.TimerHandle | None = None

    def open_session(self, with_progress: bool, may_stall: bool = True) -> None:
        """A session opened: starts the idle timer, and those of the session. `may_stall`: an open utterance whose audio
        stops coming is closed.
        """
        self._silence.cancel()
        self._silence = self._loop.call_later(self._limits.idle_timeout_s, self._check_silence)
        if self._stall_s and may_stall:
            self._stall = self._loop.call_later(self._stall_s, self._check_stall)
        if with_progress:
            self._progress = self._loop.call_later(self._progress_s, self._send_progress)

    def close_session(self) -> None:
        """Stops the timers of the session. May be called again."""
        for timer in (self._stall, self._progress):
            if timer is not None:
                timer.cancel()
        self._stall = self._progress = None

    def close(self) -> None:
        """Stops all timers, and forgets what they watch, so that both are freed at once."""
        self.close_session()
        self._silence.cancel()
        self._life.cancel()
        self._watched = None

    def _check_silence(self) -> None:
        watched = self._watched
        assert watched is not None
        kind, now_s, limit_s = watched.timeout_kind, self._loop.time(), self._limits.idle_timeout_s
        is_waited_for = watched.is_waited_for
        due_s = now_s + limit_s if is_waited_for else watched.last_message_s + limit_s
        if (kind == "idle" or is_waited_for) and now_s < due_s:
            self._silence = self._loop.call_at(due_s, self._check_silence)
        else:
            watched.on_silence(kind)

    def _check_stall(self, is_sure: bool = False) -> None:
        watched, now_s = self._watched, self._loop.time()
        assert watched is not None
        wait_s = self._stall_s if watched.is_handling else watched.last_audio_s + self._stall_s - now_s
        if wait_s <= 0 and watched.is_speaking:
            if not is_sure:
                self._stall = self._loop.call_later(STALL_SURE_S, self._check_stall, True)
                return
            if not watched.on_stall():
                return
        self._stall = self._loop.call_later(wait_s if wait_s > 0 else self._stall_s, self._check_stall)

    def _send_progress(self) -> None:
        assert self._watched is not None
        self._watched.on_progress()
        self._progress = self._loop.call_later(self._progress_s, self._send_progress)
