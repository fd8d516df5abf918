"""Who is let in now: the limits before the upgrade, and the refusals that say so.

Everything here belongs to the loop's thread and is done in microseconds: a server that is full must not be brought
down by those it turns away.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from voxgate.config import AuthSettings, LimitsSettings
from voxgate.runtime.throttle import Throttle, and_more

__all__ = ["Admission", "Load", "Permit", "Refusal"]

logger = logging.getLogger("voxgate.service.admission")

RETRY_S: Final = (4, 9)
"""Those who were turned away together should not come back together."""

NEAR: Final = 0.5
"""At this part of the longest queue wait the model has about as many streams as it keeps up with."""

SETTLE_S: Final = 2.0
"""A stream weighs nothing before somebody has spoken on it: so long nothing is seen of what was changed."""

CUT: Final = 0.93
"""To this part of the streams that are there their number is to fall while the wait grows ..."""

GROWTH: Final = 0.05
"""... and by this part (but at least one) it may grow in `SETTLE_S` while calls hardly wait."""

REPORT_EVERY_S: Final = 5.0
"""Log lines about refusals of one reason are this far apart."""


class Refusal(NamedTuple):
    """Why a connection is not taken."""

    status: int
    """Of HTTP."""
    reason: str
    """A constant for programs: the `code` of the answer, and a label of metrics. Never what a client chose."""
    text: str
    """For people."""
    retry_after_s: int | None = None


class Load(Protocol):
    """What the server has to do already."""

    @property
    def not_ready(self) -> str | None:
        """Why no new stream should come; None when one may."""

    @property
    def draining_until_s(self) -> float | None:
        """None: the server does not shut down."""

    @property
    def queue_wait_s(self) -> float:
        """Seconds that calls wait for the model at the moment."""

    @property
    def buffered_audio_is_full(self) -> bool:
        """No more audio should come before some is worked off."""


class Permit:
    """A connection that was let in. Given back with `release`, exactly once."""

    __slots__ = ("_address", "_admission", "_is_pending")

    def __init__(self, admission: Admission, address: str | None, is_pending: bool) -> None:
        self._admission = admission
        self._address = address
        self._is_pending = is_pending

    @property
    def is_pending(self) -> bool:
        """Its token is due, and not known to be good."""
        return self._is_pending

    def confirm(self) -> None:
        """Its token is good. Harmless when that was known before."""
        if self._is_pending:
            self._is_pending = False
            self._admission._count_pending(self._address, -1)

    def release(self) -> None:
        self.confirm()
        self._admission._count(self._address, -1)


class Admission:
    """Counts the connections, and lets in as many as the limits allow."""

    def __init__(
        self, limits: LimitsSettings, auth: AuthSettings, load: Load, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._max_pending = max(1, min(auth.pending_streams, limits.streams // 4))
        self._load = load
        self._clock = clock
        self._of_address: Counter[str] = Counter()
        self._pending_of_address: Counter[str] = Counter()
        self._bearable = float("inf")  # streams
        self._looked_s = self._cut_s = float("-inf")
        self._cut_at_wait_s = 0.0
        self._throttle = Throttle(REPORT_EVERY_S, clock=clock)
        self.streams = 0
        """Connections that are let in."""
        self.pending = 0
        """Those of them whose token is not known to be good yet."""
        self.refused: Counter[str] = Counter()
        """Connections that were not let in since the start, by reason."""

    def admit(self, address: str | None, is_pending: bool = False) -> Permit | Refusal:
        """`address`: what is counted as one client, None for one that is not known. `is_pending`: a token is due, and
        not known to be good yet.
        """
        refusal = self._why_not(address, is_pending)
        if refusal is not None:
            return refusal
        self._count(address, 1)
        if is_pending:
            self._count_pending(address, 1)
        return Permit(self, address, is_pending)

    def why_closed(self) -> Refusal | None:
        """Why nobody at all would be let in now; None: somebody would. Nothing is counted."""
        return self._why_not(None, False)

    def record(self, refusal: Refusal) -> None:
        """Counts a refusal, and logs it unless one of the same reason was logged just now."""
        self.refused[refusal.reason] += 1
        n_left_out = self._throttle.admit(refusal.reason)
        if n_left_out is None:
            return
        # Its text may hold what a client chose, line feeds included.
        text = f"{refusal.text!r:.200}{and_more(n_left_out)}"
        logger.info("refused a connection with %d (%s): %s", refusal.status, refusal.reason, text)

    def _why_not(self, address: str | None, is_pending: bool) -> Refusal | None:
        limits = self._limits
        if (not_ready := self._load.not_ready) is not None:
            reason = "not_ready" if self._load.draining_until_s is None else "draining"
            return Refusal(503, reason, f"not ready: {not_ready}", _soon())
        if self.streams >= limits.streams:
            return Refusal(503, "streams", f"server full: {_streams(limits.streams, 'is', 'are')} open", _soon())
        if address is not None and self._of_address[address] >= limits.streams_per_address:
            text = f"{_streams(limits.streams_per_address, 'is', 'are')} open from this address"
            return Refusal(429, "streams_per_address", text, _soon())
        if is_pending:
            max_of_address = max(1, self._max_pending // 4)
            if address is not None and self._pending_of_address[address] >= max_of_address:
                has = _streams(max_of_address, "of this address has", "of this address have")
                text = f"{has} not brought a token yet"
                return Refusal(429, "pending_streams", text, _soon())
            if self.pending >= self._max_pending:
                text = f"{_streams(self._max_pending, 'has', 'have')} not brought a token yet"
                return Refusal(503, "pending_streams", text, _soon())
        return self._why_overloaded()

    def _why_overloaded(self) -> Refusal | None:
        if self._load.buffered_audio_is_full:
            text = f"more than {self._limits.total_buffered_audio_s:g} s of audio wait for the model"
            return Refusal(503, "buffered_audio", text, _soon())
        wait_s = self._load.queue_wait_s
        self._learn(wait_s)
        if wait_s >= self._limits.queue_wait_s:
            return Refusal(503, "queue_wait", f"calls wait {wait_s:.2g} s for the model", _soon())
        if self.streams >= self._bearable:
            return Refusal(503, "queue_wait", "as many streams are open as the model keeps up with", _soon())
        return None

    def _learn(self, wait_s: float) -> None:
        """How many streams the model bears, from what their calls wait. To look at the wait alone would be too late:
        while it is short everybody would come in, and be felt when they all speak.
        """
        now_s = self._clock()
        looked_s, self._looked_s = self._looked_s, now_s
        if wait_s >= self._limits.queue_wait_s * NEAR:
            if now_s >= self._cut_s + SETTLE_S:
                if wait_s >= self._cut_at_wait_s or now_s >= self._cut_s + 2 * SETTLE_S:
                    self._bearable = max(1.0, CUT * min(self._bearable, self.streams))
                self._cut_s, self._cut_at_wait_s = now_s, wait_s
        elif self.streams >= CUT * self._bearable:  # otherwise nothing is known about more
            part_s = min(now_s - looked_s, SETTLE_S) / SETTLE_S
            self._bearable += max(1.0, GROWTH * self._bearable) * part_s

    def _count(self, address: str | None, change: int) -> None:
        self.streams += change
        _add(self._of_address, address, change)

    def _count_pending(self, address: str | None, change: int) -> None:
        self.pending += change
        _add(self._pending_of_address, address, change)


def _add(counter: Counter[str], address: str | None, change: int) -> None:
    if address is not None:
        counter[address] += change
        if not counter[address]:
            del counter[address]


def _streams(n: int, one: str, many: str) -> str:
    return f"1 stream {one}" if n == 1 else f"{n} streams {many}"


def _soon() -> int:
    return random.randint(*RETRY_S)
