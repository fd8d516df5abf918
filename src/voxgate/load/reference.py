"""What the server answers when it hears the audio with nothing else to do: what every stream under load is held to.

On the segmented route the audio is heard twice. First as fast as the server takes it: that gives the events. Then
message by message around each end of speech, with a pause after each: the message after which `inactive` comes is the
one that decided it. So the deciding message is known for any server, without a guess about its detector's frames or its
resampler's delay, and over any distance: the pauses are longer than the way there and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from voxgate.errors import VoxgateError
from voxgate.protocol.events import Active, Error, Event, Inactive, Segment

from .frames import PING, client_frame
from .material import STOP_FRAME, Material
from .websocket import Clock, Target, WebSocket

__all__ = ["ChannelReference", "Reference", "ReferenceFailed", "hear_alone"]

PAUSE_S = 0.02
"""After each message near a decision, beyond two ways to the server and back."""
CLEARANCE_MS = 60
"""Messages are sent one by one from this long before a decision is to be expected."""
ATTEMPTS = 3
BUSY = (429, 503)
"""Statuses after which a later try may go well."""
LEAST_PAUSE_S = 0.1


class ReferenceFailed(VoxgateError):
    """The server does not answer the audio alone as it should: there is nothing to hold a load against."""


@dataclass
class ChannelReference:
    """The events of a channel in order; times in seconds, as they stand on the wire."""

    actives: list[float] = field(default_factory=list)
    inactives: list[float] = field(default_factory=list)
    finals: list[tuple[float, float]] = field(default_factory=list)
    deciding: list[int] = field(default_factory=list)
    """For each of `inactives`, the number of the message that decided it; the number of messages when `stop` did."""


@dataclass
class Reference:
    """Of a stream of `n_messages`, from the frame `offset` of the material on."""

    offset: int
    n_messages: int
    channels: list[ChannelReference]

    def same_events(self, other: Reference) -> bool:
        return all(
            (mine.actives, mine.inactives, mine.finals) == (theirs.actives, theirs.inactives, theirs.finals)
            for mine, theirs in zip(self.channels, other.channels, strict=True)
        )


class _Listener(WebSocket):
    """One stream that notes what comes, and after which message."""

    def __init__(self, target: Target, clock: Clock, n_channels: int) -> None:
        super().__init__(target, clock)
        self.heard = [ChannelReference() for _ in range(n_channels)]
        self.n_sent = 0
        self.n_pongs = 0
        self.problem: str | None = None
        self.changed = asyncio.Event()
        self.is_open = False

    def opened(self) -> None:
        self.is_open = True
        self.changed.set()

    def received(self, event: Event, now_s: float) -> None:
        if isinstance(event, Error):
            self.problem = self.problem or f"error {event.code}: {event.message}"
        elif not 0 <= event.channel < len(self.heard):
            self.problem = f"an event of channel {event.channel}, which was not sent"
        elif isinstance(event, Active):
            self.heard[event.channel].actives.append(event.time)
        elif isinstance(event, Inactive):
            self.heard[event.channel].inactives.append(event.time)
            self.heard[event.channel].deciding.append(self.n_sent - 1)
        elif isinstance(event, Segment) and event.is_final is True:
            self.heard[event.channel].finals.append((event.start_time, event.end_time))
        self.changed.set()

    def ponged(self) -> None:
        self.n_pongs += 1
        self.changed.set()

    def ended(self) -> None:
        self.changed.set()

    @property
    def n_owed(self) -> int:
        """Utterances that ended and have no final yet."""
        return sum(
            sum(end_s > (channel.finals[-1][1] if channel.finals else 0) for end_s in channel.inactives)
            for channel in self.heard
        )

    async def until_open(self, timeout_s: float) -> None:
        await self._until(lambda: self.is_open, timeout_s, "did not accept the connection")

    async def until_ponged(self, timeout_s: float) -> None:
        expected = self.n_pongs + 1
        self.write(client_frame(PING, b""))
        await self._until(lambda: self.n_pongs >= expected, timeout_s, "did not answer a ping")

    async def until_answered(self, timeout_s: float) -> None:
        await self._until(lambda: not self.n_owed, timeout_s, "did not send a result")

    async def until_closed(self, timeout_s: float) -> None:
        await self._until(lambda: self.is_over, timeout_s, "did not end the session")
        if not self.has_ended_well:
            raise ReferenceFailed(f"the server closed with {self.close_code}" if self.close_code else str(self.failure))

    async def _until(self, condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    if self.is_over:
                        raise ReferenceFailed(
                            self.problem or self.failure or f"the server closed with {self.close_code}"
                        )
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise ReferenceFailed(f"the server {complaint} within {timeout_s:g} s") from None
        if self.problem is not None:
            raise ReferenceFailed(self.problem)


async def hear_alone(
    target: Target,
    material: Material,
    start_frame: bytes,
    n_messages: int,
    n_offsets: int,
    clock: Clock,
    timeout_s: float,
) -> list[Reference]:
    """The references of `n_offsets` kinds of streams on the segmented route, one after the other: no two streams are
    open at a time. ReferenceFailed when the server cannot be reached, answers with an error, or not the same each time.
    """
    return [
        await _hear(target, material, start_frame, n_messages, material.offset(number, n_offsets), clock, timeout_s)
        for number in range(n_offsets)
    ]


async def _open(target: Target, clock: Clock, n_channels: int, timeout_s: float) -> _Listener:
    """A stream that the server has accepted. While it is busy, it says when to try again: for `timeout_s` in all."""
    waited_s = 0.0
    while True:
        listener = _Listener(target, clock, n_channels)
        try:
            await listener.connect()
            await listener.until_open(timeout_s)
            return listener
        except ReferenceFailed:
            if listener.status not in BUSY or listener.retry_after_s is None:
                raise
            pause_s = max(listener.retry_after_s, LEAST_PAUSE_S)
            if waited_s + pause_s > timeout_s:
                raise
        except BaseException:
            listener.abort("not open")
            raise
        await asyncio.sleep(pause_s)
        waited_s += pause_s


async def _hear(
    target: Target,
    material: Material,
    start_frame: bytes,
    n_messages: int,
    offset: int,
    clock: Clock,
    timeout_s: float,
) -> Reference:
    once = _Once(target, material, start_frame, n_messages, offset, clock, timeout_s)
    reference = await once.hear(None)
    for _ in range(ATTEMPTS):
        exact = await once.hear(reference)
        if not reference.same_events(exact):
            raise ReferenceFailed(
                "the server gives different results for the same audio alone; with --no-reference each stream has only"
                " to be complete"
            )
        if once.is_exact:
            return exact
        once.lead_ms = 0.0
    raise ReferenceFailed("the server's decisions come at another place each time")


class _Once:
    def __init__(
        self,
        target: Target,
        material: Material,
        start_frame: bytes,
        n_messages: int,
        offset: int,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self._target, self._material, self._start_frame = target, material, start_frame
        self._n_messages, self._offset, self._clock, self._timeout_s = n_messages, offset, clock, timeout_s
        self.lead_ms = 0.0
        """A decision is made at least this long after the end of speech, in ms of audio, less the clearance."""
        self.is_exact = True

    async def hear(self, known: Reference | None) -> Reference:
        """All of the audio; with `known`, one by one where ends of speech are decided."""
        material = self._material
        listener = await _open(self._target, self._clock, material.format.channels, self._timeout_s)
        try:
            listener.write(self._start_frame)
            waiting = [] if known is None else _ends(known)
            self.is_exact = True
            leads_ms: list[float] = []
            slow_from: int | None = None  # the first message of those which are being sent one by one
            for number in range(self._n_messages):
                end_ms = (number + 1) * material.chunk_ms
                if slow_from is None and waiting and waiting[0][0] + self.lead_ms <= end_ms:
                    await self._settle(listener)
                    slow_from = number
                listener.write(material.frames[(self._offset + number) % len(material.frames)])
                listener.n_sent = number + 1
                if slow_from is None:
                    if number % 64 == 0:
                        await asyncio.sleep(0)
                    continue
                await asyncio.sleep(PAUSE_S + 2 * (listener.connect_s or 0.0))
                while waiting and len(listener.heard[waiting[0][1]].inactives) > waiting[0][2]:
                    inactive_ms, channel, ordinal = waiting.pop(0)
                    decided = listener.heard[channel].deciding[ordinal]
                    if decided < slow_from:
                        self.is_exact = False  # it came while messages were sent without a pause
                    leads_ms.append((decided + 1) * material.chunk_ms - inactive_ms)
                    self.lead_ms = max(0.0, min(leads_ms) - max(CLEARANCE_MS, 2 * material.chunk_ms))
                if not waiting or waiting[0][0] + self.lead_ms > end_ms:
                    slow_from = None
            listener.n_sent = self._n_messages + 1
            listener.write(STOP_FRAME)
            await listener.until_closed(self._timeout_s)
            if listener.problem is not None:
                raise ReferenceFailed(listener.problem)
        finally:
            listener.abort("done")
        return Reference(self._offset, self._n_messages, listener.heard)

    async def _settle(self, listener: _Listener) -> None:
        """What was sent fast is read and worked off: a ping came back, results that are due have come, and a moment
        has passed.
        """
        await listener.until_ponged(self._timeout_s)
        await listener.until_answered(self._timeout_s)
        await asyncio.sleep(0.05 + 2 * (listener.connect_s or 0.0))


def _ends(reference: Reference) -> list[tuple[float, int, int]]:
    """The ends of speech that audio decided, in order of time: (ms, channel, ordinal)."""
    return sorted(
        (1000 * end_s, channel, ordinal)
        for channel, heard in enumerate(reference.channels)
        for ordinal, end_s in enumerate(heard.inactives)
    )
