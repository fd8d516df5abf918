"""What the routes share on which the model hears everything: audio waits here until a call takes all there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voxgate._native.ring import SampleRing
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import FEED_SLICE_S, Call, Emit, Runner, Samples

if TYPE_CHECKING:
    from voxgate.session.context import SessionContext


class GroupedRunner(Runner):
    """All audio reaches the model, in order, in whatever groups have arrived.

    A group is at most `simple.max_chunk_s` long and at least `simple.min_chunk_ms`, unless a flush or the end of the
    session is waiting for it.
    """

    def __init__(self, context: SessionContext, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(context, start, emit, on_progress, context.model.sample_rate)
        config = context.config
        # However large a group should be, it must not wait for audio that is held back because so much waits already.
        min_chunk_s = min(config.simple.min_chunk_ms / 1000, config.limits.buffered_audio_s / 2)
        self._min_chunk_samples = max(1, round(min_chunk_s * self._rate))
        self._max_chunk_samples = max(self._min_chunk_samples, round(config.simple.max_chunk_s * self._rate))
        capacity_s = config.limits.buffered_audio_s + FEED_SLICE_S + 1
        self._rings = [SampleRing(round(capacity_s * self._rate)) for _ in range(self._n_channels)]
        self._urgent_pos = 0  # audio before it goes to the model however little it is

    def flush(self) -> None:
        self._urgent_pos = self._rings[0].end_pos
        self._dispatch()

    def _take(self, planes: Samples) -> None:
        is_due = False
        for ring, plane in zip(self._rings, planes, strict=True):
            ring.push(plane)
            is_due |= len(ring) >= self._min_chunk_samples
        if is_due:  # what is urgent was asked about when it became so, or will be with the next answer
            self._dispatch()

    def _close(self) -> None:
        self.flush()

    def _answered(self, call: Call) -> None:
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
        """Takes the next group of a channel out of its ring: the audio and its bounds."""
        ring = self._rings[channel]
        start_pos = ring.start_pos
        end_pos = min(ring.end_pos, start_pos + self._max_chunk_samples)
        audio = ring.read(start_pos, end_pos)
        ring.discard_before(end_pos)
        return audio, start_pos, end_pos
