"""What the routes share that give all audio to the model: audio waits here until a call takes it in a group."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING

from voxgate._native.intake import DECLINED, WAITING
from voxgate._native.live import LiveAudio
from voxgate._native.ring import SampleRing
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import FEED_SLICE_S, LiveListener, RouteHandler
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GroupedHandler"]


class GroupedHandler(RouteHandler):
    """All audio reaches the model, in order; a call takes all audio that has arrived as one group.

    A group is at most `simple.max_chunk_s` long and at least `simple.min_chunk_ms`, unless a flush or the end of the
    session needs it.
    """

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(parts, start, emit, on_progress, parts.model.sample_rate)
        config = parts.config
        # A group must not wait for audio that the session does not read because too much audio waits already.
        min_chunk_s = min(config.simple.min_chunk_ms / 1000, config.limits.buffered_audio_s / 2)
        self._min_chunk_samples = max(1, round(min_chunk_s * self._rate))
        self._max_chunk_samples = max(self._min_chunk_samples, round(config.simple.max_chunk_s * self._rate))
        capacity_s = config.limits.buffered_audio_s + FEED_SLICE_S + 1
        self._rings = [SampleRing(round(capacity_s * self._rate)) for _ in range(self._n_channels)]
        self._intake = self._decoder.ring_intake(self._rings, self._min_chunk_samples)
        self._urgent_pos = 0  # Audio before it goes to the model, however little it is.

    def feed(self, data: Buffer) -> None:
        intake = self._intake
        taken = DECLINED if intake is None else intake.take(data)
        if taken == WAITING:
            self._dispatch()
        elif taken == DECLINED:
            super().feed(data)
            if intake is not None:
                intake.due_frames = self._timing.due_frames

    def listener(
        self,
        *,
        max_bytes: int,
        events: Sized,
        clock: Callable[[], float],
        otherwise: Callable[[bytes], bool],
        on_failure: Callable[[], None],
    ) -> LiveListener | None:
        if self._intake is None:
            return None
        return LiveAudio(
            self._intake,
            max_bytes=max_bytes,
            calls=self.calls,
            texts=events,
            waiting=None,
            schedule=None,
            on_frames=self._dispatch,
            clock=clock,
            count=self._tally.binary,
            otherwise=otherwise,
            on_failure=on_failure,
        )

    def flush(self) -> None:
        self._urgent_pos = self._rings[0].end_pos
        self._dispatch()

    def _take(self, planes: Samples) -> None:
        is_due = False
        for ring, plane in zip(self._rings, planes, strict=True):
            ring.push(plane)
            is_due |= len(ring) >= self._min_chunk_samples
        if is_due:  # Urgent audio is in a call already, or will be after the next answer.
            self._dispatch()

    def _close(self) -> None:
        self.flush()

    def _on_over(self, call: ModelCall) -> None:
        self._dispatch()

    def _pending_samples(self, channel: int) -> int:
        return super()._pending_samples(channel) + len(self._rings[channel])

    def _dispatch(self) -> None:
        """Makes the calls that can be made now."""
        raise NotImplementedError

    def _is_due(self, channel: int) -> bool:
        """Whether enough audio of a channel waits for a call."""
        ring = self._rings[channel]
        return len(ring) >= (1 if ring.start_pos < self._urgent_pos else self._min_chunk_samples)

    def _next_group(self, channel: int) -> tuple[Samples, int, int]:
        """Takes the next group of a channel out of its ring: the audio, its first position and its end."""
        ring = self._rings[channel]
        start_pos = ring.start_pos
        end_pos = min(ring.end_pos, start_pos + self._max_chunk_samples)
        audio = ring.read(start_pos, end_pos)
        ring.discard_before(end_pos)
        return audio, start_pos, end_pos
