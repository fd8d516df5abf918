"""The results of an idle server for the same audio, with which every stream under load is compared.

The audio is played twice on the segmented route. The first time as fast as the server accepts it, which gives the
events. The second time message by message around each end of speech, with a pause after each: the message before
`inactive` is the one that decided it. This finds the deciding message for any server, whatever its detector's frames
and its resampler's delay, and over any distance, since the pauses are longer than the round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from voxgate.errors import VoxgateError
from voxgate.protocol.events import Active, Error, Event, Inactive, Segment

from .frames import PING, client_frame
from .material import Material
from .websocket import Clock, Target, WebSocket

__all__ = ["ChannelReference", "Reference", "ReferenceFailed", "record_references"]

PAUSE_S = 0.02
"""The pause after each message near a decision, in addition to two round trips."""
CLEARANCE_MS = 60
"""How long before an expected decision messages are sent one by one."""
ATTEMPTS = 3
BUSY = (429, 503)
"""Statuses after which a later attempt may succeed."""
LEAST_PAUSE_S = 0.1


class ReferenceFailed(VoxgateError):
    """There is no reference: the idle server cannot be reached, or gives errors or varying results."""


@dataclass
class ChannelReference:
    """The events of a channel in order; times in seconds, as on the wire."""

    actives: list[float] = field(default_factory=list)
    inactives: list[float] = field(default_factory=list)
    finals: list[tuple[float, float]] = field(default_factory=list)
    deciding: list[int] = field(default_factory=list)
    """For each of `inactives`, the number of the message that decided it; the number of messages when `stop` did."""


@dataclass
class Reference:
    """The events of a stream of `n_messages` that begins at the frame `offset` of the material."""

    offset: int
    n_messages: int
    channels: list[ChannelReference]

    def same_events(self, other: Reference) -> bool:
        return all(
            (mine.actives, mine.inactives, mine.finals) == (theirs.actives, theirs.inactives, theirs.finals)
            for mine, theirs in zip(self.channels, other.channels, strict=True)
        )


class _Recorder(WebSocket):
    """One stream that records the events, and the message after which each one arrived."""

    def __init__(self, target: Target, clock: Clock, n_channels: int) -> None:
        super().__init__(target, clock)
        self.channels = [ChannelReference() for _ in range(n_channels)]
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
        elif not 0 <= event.channel < len(self.channels):
            self.problem = f"an event of channel {event.channel}, which was not sent"
        elif isinstance(event, Active):
            self.channels[event.channel].actives.append(event.time)
        elif isinstance(event, Inactive):
            self.channels[event.channel].inactives.append(event.time)
            self.channels[event.channel].deciding.append(self.n_sent - 1)
        elif isinstance(event, Segment) and event.is_final is True:
            self.channels[event.channel].finals.append((event.start_time, event.end_time))
        self.changed.set()

    def ponged(self) -> None:
        self.n_pongs += 1
        self.changed.set()

    def ended(self) -> None:
        self.changed.set()

    @property
    def n_outstanding(self) -> int:
        """Utterances that ended without a final so far."""
        return sum(
            sum(end_s > (channel.finals[-1][1] if channel.finals else 0) for end_s in channel.inactives)
            for channel in self.channels
        )

    async def until_open(self, timeout_s: float) -> None:
        await self._until(lambda: self.is_open, timeout_s, "did not accept the connection")

    async def until_ponged(self, timeout_s: float) -> None:
        expected = self.n_pongs + 1
        self.write(client_frame(PING, b""))
        await self._until(lambda: self.n_pongs >= expected, timeout_s, "did not answer a ping")

    async def until_answered(self, timeout_s: float) -> None:
        await self._until(lambda: not self.n_outstanding, timeout_s, "did not send a result")

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


async def record_references(
    target: Target,
    material: Material,
    start_frame: bytes | str,
    n_messages: int,
    n_offsets: int,
    clock: Clock,
    timeout_s: float,
) -> list[Reference]:
    """The references of `n_offsets` kinds of streams on the segmented route, one stream at a time.

    Raises ReferenceFailed when the server cannot be reached, answers with an error, or gives varying results.
    """
    return [
        await _record(target, material, start_frame, n_messages, material.offset(number, n_offsets), clock, timeout_s)
        for number in range(n_offsets)
    ]


async def _open(target: Target, clock: Clock, n_channels: int, timeout_s: float) -> _Recorder:
    """A stream that the server has accepted. Follows the Retry-After of a busy server, for `timeout_s` in all."""
    waited_s = 0.0
    while True:
        recorder = _Recorder(target, clock, n_channels)
        try:
            await recorder.connect()
            await recorder.until_open(timeout_s)
            return recorder
        except ReferenceFailed:
            if recorder.status not in BUSY or recorder.retry_after_s is None:
                raise
            pause_s = max(recorder.retry_after_s, LEAST_PAUSE_S)
            if waited_s + pause_s > timeout_s:
                raise
        except BaseException:
            recorder.abort("not open")
            raise
        await asyncio.sleep(pause_s)
        waited_s += pause_s


async def _record(
    target: Target,
    material: Material,
    start_frame: bytes | str,
    n_messages: int,
    offset: int,
    clock: Clock,
    timeout_s: float,
) -> Reference:
    playback = _Playback(target, material, start_frame, n_messages, offset, clock, timeout_s)
    reference = await playback.play(None)
    for _ in range(ATTEMPTS):
        exact = await playback.play(reference)
        if not reference.same_events(exact):
            raise ReferenceFailed(
                "the idle server gives different results for the same audio; with --no-reference each stream must only"
                " be complete"
            )
        if playback.is_exact:
            return exact
        playback.lead_ms = 0.0
    raise ReferenceFailed("the server decides after another message each time")


class _Playback:
    """Plays the audio of one offset."""

    def __init__(
        self,
        target: Target,
        material: Material,
        start_frame: bytes | str,
        n_messages: int,
        offset: int,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self._target, self._material, self._start_frame = target, material, start_frame
        self._n_messages, self._offset, self._clock, self._timeout_s = n_messages, offset, clock, timeout_s
        self.lead_ms = 0.0
        """The shortest time from an end of speech to its decision, in ms of audio, less the clearance."""
        self.is_exact = True

    async def play(self, known: Reference | None) -> Reference:
        """All of the audio; with `known`, message by message where ends of speech are decided."""
        material = self._material
        recorder = await _open(self._target, self._clock, material.format.channels, self._timeout_s)
        try:
            recorder.write(self._start_frame)
            waiting = [] if known is None else _ends(known)
            self.is_exact = True
            leads_ms: list[float] = []
            frames, first = material.played_from(self._offset)
            slow_from: int | None = None  # the first of the messages that are sent one by one
            for number in range(self._n_messages):
                end_ms = (number + 1) * material.chunk_ms
                if slow_from is None and waiting and waiting[0][0] + self.lead_ms <= end_ms:
                    await self._settle(recorder)
                    slow_from = number
                recorder.write(frames[(first + number) % len(frames)])
                recorder.n_sent = number + 1
                if slow_from is None:
                    if number % 64 == 0:
                        await asyncio.sleep(0)
                    continue
                await asyncio.sleep(PAUSE_S + 2 * (recorder.connect_s or 0.0))
                while waiting and len(recorder.channels[waiting[0][1]].inactives) > waiting[0][2]:
                    inactive_ms, channel, ordinal = waiting.pop(0)
                    decided = recorder.channels[channel].deciding[ordinal]
                    if decided < slow_from:
                        self.is_exact = False  # it arrived while messages were sent without a pause
                    leads_ms.append((decided + 1) * material.chunk_ms - inactive_ms)
                    self.lead_ms = max(0.0, min(leads_ms) - max(CLEARANCE_MS, 2 * material.chunk_ms))
                if not waiting or waiting[0][0] + self.lead_ms > end_ms:
                    slow_from = None
            recorder.n_sent = self._n_messages + 1
            recorder.write(material.stop_frame)
            await recorder.until_closed(self._timeout_s)
            if recorder.problem is not None:
                raise ReferenceFailed(recorder.problem)
        finally:
            recorder.abort("done")
        return Reference(self._offset, self._n_messages, recorder.channels)

    async def _settle(self, recorder: _Recorder) -> None:
        """Waits until the server has processed everything sent so far: it has answered a ping and sent all outstanding
        results, and a moment has passed.
        """
        await recorder.until_ponged(self._timeout_s)
        await recorder.until_answered(self._timeout_s)
        await asyncio.sleep(0.05 + 2 * (recorder.connect_s or 0.0))


def _ends(reference: Reference) -> list[tuple[float, int, int]]:
    """The ends of speech, sorted by time: (ms, channel, ordinal)."""
    return sorted(
        (1000 * end_s, channel, ordinal)
        for channel, events in enumerate(reference.channels)
        for ordinal, end_s in enumerate(events.inactives)
    )
