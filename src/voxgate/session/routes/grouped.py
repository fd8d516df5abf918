"""What the routes share that give all audio to the model: audio waits here until a call takes it in a group."""

from __future__ import annotations

from collections.abc import Callable

from voxgate._native.ring import SampleRing
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import FEED_SLICE_S, RouteHandler
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit

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

    def flush(self) -> None:
        self._urgent_pos = self._rings[0].end_pos
        self._dispatch()

    def _take(self, planes: Samples) -> None:
        is_due = False
        for ring, plane in zip(self._rings, planes, strict=True):
            ring.push(plane)
            is_due |= len(ring) >= self._min_chunk_samples
        if is_due:  # Urgent audio is in a call already, or will be after the next answer.
            self._take_waiting()

    def _take_waiting(self) -> None:
        self._dispatch()
        if self.calls:
            self.unchecked[0] = True  # Perhaps no call could be made, and the audio waits.

    def _live_callbacks(self) -> tuple[None, None, Callable[..., None]]:
        return None, None, self._take_waiting

    def _close(self) -> None:
        self.flush()

    def _on_over(self, call: ModelCall) -> None:
        self._dispatch()

    def _pending_samples(self, channel: int) -> int:
        return self._in_calls_samples[channel] + len(self._rings[channel])

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
