"""One live stream under load: it sends when the wheel reaches it, and compares its results with the reference."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import UNSET

from voxgate.client import ResultCheck
from voxgate.protocol.events import Active, Error, Event, Inactive, Progress, Segment

from .connection import NO_CODE, Clock, Connection, Frame
from .material import Material
from .reference import ChannelReference, Reference
from .websocket import Target, WebSocket

if TYPE_CHECKING:
    from .generator import Generator

__all__ = ["LiveStream", "LiveWebSocket"]

T = TypeVar("T")

_RING: Final = 512  # times of the last messages; a deciding message that is older has a late result anyway
ROUNDED_MS: Final = 0.6
"""The tolerance for times on the wire, which are rounded to 1 ms."""


class _ChannelProgress:
    """The number of events of each kind that a channel has received."""

    __slots__ = ("actives", "errors", "finals", "inactive_s", "inactives", "reference")

    def __init__(self, reference: ChannelReference) -> None:
        self.reference = reference
        self.actives = 0
        self.inactives = 0
        self.finals = 0
        self.errors = 0
        """Those that may stand for a final; which one is not yet known."""
        self.inactive_s: dict[float, tuple[int, float]] = {}  # end of speech -> its ordinal, the arrival of `inactive`

    def accepts_final(self, bounds_s: tuple[float, float]) -> bool:
        """Whether this final is the next one of the reference, or the next after some that are errors here."""
        for skipped in range(self.errors + 1):
            if _at(self.reference.finals, self.finals + skipped) == bounds_s:
                self.finals += skipped + 1
                self.errors -= skipped
                return True
        return False


class LiveStream(Connection):
    """`reference`: of the stream's offset. Without one, the results must only be complete.

    Complete results cover the audio with `covering`; otherwise each utterance has its final.
    """

    def __init__(
        self,
        generator: Generator,
        target: Target,
        material: Material,
        start_frame: Frame,
        offset: int,
        n_messages: int,
        reference: Reference | None,
        covering: bool,
        clock: Clock,
    ) -> None:
        super().__init__(target, clock)
        self._generator = generator
        self._sample_rate = material.format.sample_rate
        self._frames, self._place = material.played_from(offset)
        self._chunk_ms = material.chunk_ms
        self._sent_s_of_audio = n_messages * material.chunk_ms / 1000
        self._start_frame = start_frame
        self._stop_frame = material.stop_frame
        self._n_messages = n_messages
        self.n_sent = 0
        self.stop_s: float | None = None
        """When `stop` was sent."""
        self._sent_at_s = array("d", bytes(8 * _RING))
        self._started_s = 0.0
        self._has_result = False
        self._channels = None if reference is None else [_ChannelProgress(channel) for channel in reference.channels]
        self._check = ResultCheck(material.format.channels, covering) if reference is None else None
        self._inactive_s: dict[int, float] = {}  # without a reference: channel -> arrival of its last `inactive`
        self.difference: str | None = None
        """The first difference from the reference, in words."""
        self.n_errors = 0

    # What the generator calls

    def send_next(self, due_s: float) -> bool:
        """Sends the next message, or stop after the last one; False after stop."""
        if self.is_over:
            return False
        now_s = self.clock()
        number = self.n_sent
        if number == self._n_messages:
            self.stop_s = now_s
            self.write(self._stop_frame)
            self._generator.stopped()
            return False
        self.write(self._frames[self._place])
        self._sent_at_s[number % _RING] = now_s
        self.n_sent = number + 1
        self._place += 1
        if self._place == len(self._frames):
            self._place = 0
        self._generator.lateness.add(now_s - due_s)
        return True

    # What the connection calls

    def opened(self) -> None:
        assert self.connect_s is not None
        self._started_s = self.clock()
        self.write(self._start_frame)
        self._generator.opened(self)

    def received(self, event: Event, now_s: float) -> None:
        if isinstance(event, Segment):
            self._segment(event, now_s)
        elif isinstance(event, Active):
            if (progress := self._channel(event.channel)) is not None:
                if _at(progress.reference.actives, progress.actives) != event.time:
                    self._differs(event, _at(progress.reference.actives, progress.actives))
                progress.actives += 1
        elif isinstance(event, Inactive):
            if (progress := self._channel(event.channel)) is not None:
                self._inactive(progress, event, now_s)
            else:
                self._inactive_s[event.channel] = now_s
        elif isinstance(event, Progress):
            self._generator.measures.lag(now_s, event.lag_s)
        elif isinstance(event, Error):
            self.n_errors += 1
            self._generator.tally.errors[event.code or "(no code)"] += 1
            if (progress := self._channel(event.channel)) is not None:
                progress.errors += 1
        if self._check is not None:
            self._check.receive(event)

    def ended(self) -> None:
        if self.difference is None and self.has_ended_well and self.stop_s is not None and not self.n_errors:
            self.difference = self._missing()
        self._generator.ended(self)

    # Private

    def _channel(self, channel: int) -> _ChannelProgress | None:
        if self._channels is None:
            return None
        if channel < len(self._channels):
            return self._channels[channel]
        self.difference = self.difference or f"an event of channel {channel}, which was not sent"
        return None

    def _inactive(self, progress: _ChannelProgress, event: Inactive, now_s: float) -> None:
        ordinal, reference = progress.inactives, progress.reference
        progress.inactives += 1
        if _at(reference.inactives, ordinal) != event.time:
            self._differs(event, _at(reference.inactives, ordinal))
            return
        progress.inactive_s[event.time] = (ordinal, now_s)
        if self.n_sent - 1 < reference.deciding[ordinal] and self.stop_s is None:
            # An effect before its cause: the reference was disturbed, and named a message too late.
            reference.deciding[ordinal] = self.n_sent - 1
            self._generator.tally.corrected += 1

    def _segment(self, event: Segment, now_s: float) -> None:
        if event.is_final is False:
            return
        measures = self._generator.measures
        if not self._has_result:
            self._has_result = True
            self._generator.first_result_s.append(now_s - self._started_s)
        if self._channels is None:
            if event.is_final is UNSET:
                number = int((1000 * event.end_time - ROUNDED_MS) / self._chunk_ms)
                if 0 <= number < self.n_sent and self.stop_s is None:
                    measures.result(self._sent_s(number, now_s), now_s, None)
            elif (inactive_s := self._inactive_s.pop(event.channel, None)) is not None and self.stop_s is None:
                measures.final(inactive_s, now_s)
            return
        if (progress := self._channel(event.channel)) is None:
            return
        if not progress.accepts_final((event.start_time, event.end_time)):
            self._differs(event, _at(progress.reference.finals, progress.finals))
            progress.finals += 1
            return
        if (ended := progress.inactive_s.pop(event.end_time, None)) is None:
            return  # cut at the maximum length: speech continues, and no end was decided
        ordinal, inactive_s = ended
        number = progress.reference.deciding[ordinal]
        if number < self._n_messages:  # otherwise stop decided it
            measures.result(self._sent_s(number, now_s), now_s, inactive_s)

    def _sent_s(self, number: int, now_s: float) -> float:
        if self.n_sent - number <= _RING:
            return self._sent_at_s[number % _RING]
        # So long ago that the lateness of the message makes no difference.
        return now_s - (self.n_sent - number) * self._chunk_ms / 1000

    def _differs(self, event: Event, expected: object) -> None:
        if self.difference is None:
            self.difference = f"{event!r} where the reference has {'nothing' if expected is None else expected}"

    def _missing(self) -> str | None:
        if self._check is not None:
            original_rate = self._sample_rate if self.close_code == NO_CODE else None
            problems = self._check.problems(self._sent_s_of_audio, original_rate)
            return problems[0] if problems else None
        assert self._channels is not None
        for channel, progress in enumerate(self._channels):
            reference = progress.reference
            for name, have, want in (
                ("active", progress.actives, len(reference.actives)),
                ("inactive", progress.inactives, len(reference.inactives)),
                ("final", progress.finals, len(reference.finals)),
            ):
                if have != want:
                    return f"channel {channel}: {have} {name} where the reference has {want}"
        return None


class LiveWebSocket(LiveStream, WebSocket):
    """One on the native wire."""


def _at(values: Sequence[T], index: int) -> T | None:
    return values[index] if index < len(values) else None
