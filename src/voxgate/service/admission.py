"""Which clients the server accepts now, under its limits and its load, and the refusals for the others.

Everything here belongs to the loop's thread and takes microseconds: refusing clients must not bring down a full server.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from voxgate.config import AuthSettings, LimitsSettings
from voxgate.protocol.wires import WireName
from voxgate.runtime.throttle import Throttle, and_more
from voxgate.service.client_info import ClientInfo
from voxgate.service.host_counts import HostCounts

if TYPE_CHECKING:
    from voxgate.service.redis_counts import RedisCounts

__all__ = ["Admission", "Load", "Permit", "Refusal", "RefusalKind", "full_address", "full_token"]

logger = logging.getLogger("voxgate.service.admission")

RETRY_S: Final = (4, 9)
"""A range, so that clients refused together do not come back together."""

NEAR: Final = 0.5
"""At this fraction of the longest queue wait, the model has about as many streams as it keeps up with."""

SETTLE_S: Final = 2.0
"""A stream causes no load before somebody speaks on it: a change shows its effect after this time."""

CUT: Final = 0.93
"""While the wait grows, the number of streams has to fall to this fraction of the open ones ..."""

GROWTH: Final = 0.05
"""... and while calls hardly wait, it may grow by this fraction (but at least by one) in `SETTLE_S`."""

REPORT_EVERY_S: Final = 5.0
"""Log lines about refusals of one reason are this far apart."""


class RefusalKind(Enum):
    """What a client can do about a refusal. Each wire has a status for each kind."""

    INVALID = auto()
    """Change the request."""
    UNAUTHENTICATED = auto()
    """Send a valid token."""
    FORBIDDEN = auto()
    NOT_FOUND = auto()
    MISDIRECTED = auto()
    """Use another name for the server."""
    TOO_MANY = auto()
    """Close some of its own streams."""
    NOT_SERVED = auto()
    """Use another route, or a server with another model."""
    UNAVAILABLE = auto()
    """Come back later."""


class Refusal(NamedTuple):
    """Why the server does not accept a client."""

    kind: RefusalKind
    reason: str
    """A constant for programs: the `code` of the response, and a label of metrics. Never a client's own text."""
    text: str
    """For people."""
    retry_after_s: int | None = None


class Load(Protocol):
    """The load of the server, as admission sees it."""

    @property
    def not_ready(self) -> str | None:
        """Why the server accepts no new stream; None when it does."""

    @property
    def draining_until_s(self) -> float | None:
        """When draining ends; None: the server does not shut down."""

    @property
    def queue_wait_s(self) -> float:
        """How long calls wait for the model at the moment, in seconds."""

    @property
    def buffered_audio_is_full(self) -> bool:
        """The audio that waits for the model has reached its limit."""


class Permit:
    """The place of an accepted client. `release` must be called exactly once."""

    __slots__ = ("_address", "_admission", "_is_pending", "_token_key", "identity", "on_release")

    def __init__(self, admission: Admission, address: str | None, is_pending: bool) -> None:
        self._admission = admission
        self._address = address
        self._is_pending = is_pending
        self._token_key: str | None = None
        self.identity: str | None = None
        """The name that the access hook gave to the client."""
        self.on_release: list[Callable[[], None]] = []
        """Also called by `release`."""

    @property
    def is_pending(self) -> bool:
        """The client needs a token, and none is known to be valid yet."""
        return self._is_pending

    def confirm(self, identity: str | None = None) -> None:
        """The token of the client is valid. Does nothing when that was known before."""
        self.identity = self.identity or identity
        if self._is_pending:
            self._is_pending = False
            self._admission._count_pending(self._address, -1)

    def count_token(self, key: str, max_streams: int) -> Refusal | None:
        """Counts the stream together with all of its token, which is valid; or why it may not be opened. At most once.
        `key`: stands for the token, and does not contain it.
        """
        refusal = self._admission._enter_token(key, max_streams)
        if refusal is None:
            self._token_key = key
        return refusal

    def release(self) -> None:
        self.confirm()
        if self._token_key is not None:
            self._admission._leave_token(self._token_key)
        self._admission._release(self._address)
        for call in self.on_release:
            call()


class Admission:
    """Counts clients, and accepts as many as the limits and the load allow."""

    def __init__(
        self, limits: LimitsSettings, auth: AuthSettings, load: Load, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self._max_pending = max(1, min(auth.pending_streams, limits.streams // 4))
        self._load = load
        self._clock = clock
        self._of_address: Counter[str] = Counter()
        self._pending_of_address: Counter[str] = Counter()
        self._of_token: Counter[str] = Counter()
        self._max_served = float("inf")  # streams
        self._looked_s = self._cut_s = float("-inf")
        self._cut_at_wait_s = 0.0
        self._throttle = Throttle(REPORT_EVERY_S, clock=clock)
        self.streams = 0
        """Accepted clients."""
        self.pending = 0
        """Accepted clients whose token is not known to be valid yet."""
        self.refused: Counter[tuple[str, WireName]] = Counter()
        """Refused clients since the start, by reason and wire."""
        self.host: HostCounts | None = None
        """What all processes of this host count together; None: this process counts alone."""
        self.redis: RedisCounts | None = None
        """What all servers that share a Redis count together, besides."""

    def admit(self, client: ClientInfo, is_pending: bool = False) -> Permit | Refusal:
        """Counts clients with the same address together, and those without one not at all. `is_pending`: the client
        needs a token, and none is known to be valid yet.
        """
        address = client.address
        refusal = self._why_not(address, is_pending)
        if refusal is not None:
            return refusal
        if self.host is not None:
            limits = self.limits
            reached = self.host.enter(address, limits.streams, limits.streams_per_address)
            if reached is not None:
                return self._full() if reached == "streams" else full_address(limits.streams_per_address)
        self._count(address, 1)
        if is_pending:
            self._count_pending(address, 1)
        return Permit(self, address, is_pending)

    def why_closed(self) -> Refusal | None:
        """Why the server would refuse any client now; None: it would not. Counts nothing."""
        return self._why_not(None, False)

    def record(self, refusal: Refusal, wire: WireName) -> None:
        """Counts a refusal, and logs it unless one of the same reason was logged within `REPORT_EVERY_S`. `wire`: the
        API that the client uses; `native` when it used no path of an API.
        """
        self.refused[refusal.reason, wire] += 1
        n_left_out = self._throttle.admit(refusal.reason)
        if n_left_out is None:
            return
        # The text may contain a client's own, line feeds included.
        text = f"{refusal.text!r:.200}{and_more(n_left_out)}"
        logger.info("refused a connection (%s): %s", refusal.reason, text)

    def _why_not(self, address: str | None, is_pending: bool) -> Refusal | None:
        limits = self.limits
        if (not_ready := self._load.not_ready) is not None:
            reason = "not_ready" if self._load.draining_until_s is None else "draining"
            return Refusal(RefusalKind.UNAVAILABLE, reason, f"not ready: {not_ready}", _soon())
        if (self.streams if self.host is None else self.host.streams) >= limits.streams:
            return self._full()
        if address is not None and self._of_address[address] >= limits.streams_per_address:
            return full_address(limits.streams_per_address)
        if is_pending:
            max_of_address = max(1, self._max_pending // 4)
            if address is not None and self._pending_of_address[address] >= max_of_address:
                has = _streams(max_of_address, "of this address has", "of this address have")
                text = f"{has} not brought a token yet"
                return Refusal(RefusalKind.TOO_MANY, "pending_streams", text, _soon())
            if self.pending >= self._max_pending:
                text = f"{_streams(self._max_pending, 'has', 'have')} not brought a token yet"
                return Refusal(RefusalKind.UNAVAILABLE, "pending_streams", text, _soon())
        return self._why_overloaded()

    def _full(self) -> Refusal:
        text = f"server full: {_streams(self.limits.streams, 'is', 'are')} open"
        return Refusal(RefusalKind.UNAVAILABLE, "streams", text, _soon())

    def _why_overloaded(self) -> Refusal | None:
        if self._load.buffered_audio_is_full:
            text = f"more than {self.limits.total_buffered_audio_s:g} s of audio wait for the model"
            return Refusal(RefusalKind.UNAVAILABLE, "buffered_audio", text, _soon())
        wait_s = self._load.queue_wait_s
        self._learn(wait_s)
        if wait_s >= self.limits.queue_wait_s:
            return Refusal(RefusalKind.UNAVAILABLE, "queue_wait", f"calls wait {wait_s:.2g} s for the model", _soon())
        if self.streams >= self._max_served:
            return Refusal(
                RefusalKind.UNAVAILABLE, "queue_wait", "as many streams are open as the model keeps up with", _soon()
            )
        return None

    def _learn(self, wait_s: float) -> None:
        """Adjusts how many streams the model can serve, from how long their calls wait. The wait alone tells too late:
        while it is short every client would be accepted, and the load would come when they all speak.
        """
        now_s = self._clock()
        looked_s, self._looked_s = self._looked_s, now_s
        if wait_s >= self.limits.queue_wait_s * NEAR:
            if now_s >= self._cut_s + SETTLE_S:
                if wait_s >= self._cut_at_wait_s or now_s >= self._cut_s + 2 * SETTLE_S:
                    self._max_served = max(1.0, CUT * min(self._max_served, self.streams))
                self._cut_s, self._cut_at_wait_s = now_s, wait_s
        elif self.streams >= CUT * self._max_served:  # otherwise nothing is known about more
            part_s = min(now_s - looked_s, SETTLE_S) / SETTLE_S
            self._max_served += max(1.0, GROWTH * self._max_served) * part_s

    def _release(self, address: str | None) -> None:
        self._count(address, -1)
        if self.host is not None:
            self.host.leave(address)

    def _enter_token(self, key: str, max_streams: int) -> Refusal | None:
        if self._of_token[key] >= max_streams or (
            self.host is not None and not self.host.enter_token(key, max_streams)
        ):
            return full_token(max_streams)
        _add(self._of_token, key, 1)
        return None

    def _leave_token(self, key: str) -> None:
        _add(self._of_token, key, -1)
        if self.host is not None:
            self.host.leave_token(key)

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


def full_token(max_streams: int, where: str = "") -> Refusal:
    """The refusal of a token with as many streams as it may have. `where`: they are counted, with a comma."""
    text = f"{_streams(max_streams, 'is', 'are')} open with this token{where}"
    return Refusal(RefusalKind.TOO_MANY, "streams_per_token", text, _soon())


def full_address(max_streams: int, where: str = "") -> Refusal:
    """The same of an address."""
    text = f"{_streams(max_streams, 'is', 'are')} open from this address{where}"
    return Refusal(RefusalKind.TOO_MANY, "streams_per_address", text, _soon())


def _streams(n: int, one: str, many: str) -> str:
    return f"1 stream {one}" if n == 1 else f"{n} streams {many}"


def _soon() -> int:
    return random.randint(*RETRY_S)
