"""What the routes share: audio in, and the numbers of a session.

The session that owns a handler watches `backlog_s` (how far the model is behind) and `pending` (how many replies are
missing); the handler calls `on_progress` when either has shrunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import UNSET, UnsetType

from voxgate._native.intake import DECLINED, WAITING, PcmIntake
from voxgate._native.live import LiveAudio
from voxgate.audio.decoder import StreamDecoder
from voxgate.protocol.events import Flushed
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import ModelCalls, Samples
from voxgate.session.routes.interim_pace import InterimPace
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.timing import Timing

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FEED_SLICE_S", "RouteHandler"]

FEED_SLICE_S = 1.0
"""The most audio of a session, over all channels, that one call of `feed` should get: about a millisecond of work."""

NS_PER_S = 1_000_000_000


class LiveListener(Protocol):
    """Takes binary messages of one session without its handler, as long as `is_open`."""

    is_open: bool

    @property
    def heard_s(self) -> float:
        """When it took the last one, by its clock."""
        ...

    def __call__(self, data: bytes) -> bool: ...


class RouteHandler(ModelCalls):
    """One open session on a route: the audio of all its channels becomes model calls, and their results become replies
    in audio order. Everything runs on the event loop's thread and never awaits.
    """

    __slots__ = ("_intake", "_timing", "is_waiting")

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None], rate: int) -> None:
        """`rate`: Hz, of all positions. `emit` gets every event at once and must not block; `on_progress` is called
        after each result.
        """
        n_channels = start.pcm.channels
        super().__init__(parts, rate, n_channels, emit, on_progress)
        audio = parts.config.audio
        self._emit = emit
        self.is_waiting = False
        """Audio that comes now waits for a turn detector; it counts in `backlog_s`."""
        self._decoder = StreamDecoder(start.pcm, rate, resampler=audio.resampler, soxr_quality=audio.soxr_quality)
        if start.interim_results:
            self._interim_pace = InterimPace(parts.config.inference.interims_per_s, parts.scheduler)
        self._has_ids = start.notices
        asked_for = {"segment_id": start.notices, "stable_text": start.stability, "eager": start.eager}
        asked_for["turn_probability"] = start.turn is not None
        self._reserved_keys = frozenset(key for key, is_asked_for in asked_for.items() if is_asked_for)
        self._n_ids = [0] * n_channels
        self._timing = Timing(parts.tally, n_channels, start.pcm.sample_rate)
        self._intake: PcmIntake | None = None  # What decodes and stores in one call; a route sets it.

    # --- for the session ---

    def feed(self, data: Buffer) -> None:
        """Takes interleaved PCM bytes, cut anywhere. The work is proportional to the length: the caller cuts long
        messages (FEED_SLICE_S).
        """
        intake = self._intake
        taken = DECLINED if intake is None else intake.take(data)
        if taken == WAITING:
            self._take_waiting()
        elif taken == DECLINED:
            self._feed_by_steps(data)
            if intake is not None:
                intake.due_frames = self._timing.due_frames

    def _feed_by_steps(self, data: Buffer) -> None:
        decoder = self._decoder
        received_frames = decoder.received_frames
        if received_frames < self._timing.due_frames:
            self._take(decoder.push(data))
            return
        began_s = time.perf_counter()
        planes = decoder.push(data)
        decode_s = time.perf_counter() - began_s
        vad_s = self._take_timed(planes)
        self._timing.add(decoder.received_frames, decoder.received_frames - received_frames, decode_s, vad_s)

    def flush(self) -> None:
        """Runs the model on the audio received so far instead of waiting for more; the session goes on."""
        raise NotImplementedError

    def emit_flushed(self) -> None:
        """Emits Flushed on each channel, behind the results of all audio before it."""
        for channel, replies in enumerate(self._replies):
            replies.settle(self._reserve(channel), Flushed(channel))

    def in_order(self, step: Callable[[], None]) -> None:
        """Calls `step` when the events of all audio received so far are emitted: now, or later."""
        step()

    def clear(self) -> None:
        """Drops the audio of the open segment, if the route has one; the session goes on."""

    def take_rest(self) -> bytes:
        """The bytes of a frame that is not complete; they belong to the session that follows."""
        return self._decoder.take_rest()

    def finish(self) -> None:
        """The audio is complete: closes everything that is still open. Replies follow until `pending` is 0."""
        self._take(self._decoder.finish())
        self._close()

    @property
    def turn_detector(self) -> str | None:
        """The name of the turn detector that ends its segments; None: there is none."""
        return None

    def listener(
        self,
        *,
        max_bytes: int,
        events: Sized,
        clock: Callable[[], float],
        otherwise: Callable[[bytes], bool],
        on_failure: Callable[[], None],
    ) -> LiveListener | None:
        """Returns what takes messages of at most `max_bytes` past `feed`, while nothing is `unchecked` and no event
        waits in `events`, and gives the others to `otherwise`; None: all audio comes by `feed`. `on_failure`: see
        `LiveAudio`.
        """
        if self._intake is None:
            return None
        waiting, schedule, on_frames = self._live_callbacks()
        return LiveAudio(
            self._intake,
            max_bytes=max_bytes,
            unchecked=self.unchecked,
            texts=events,
            waiting=waiting,
            schedule=schedule,
            on_frames=on_frames,
            clock=clock,
            count=self._tally.binary,
            otherwise=otherwise,
            on_failure=on_failure,
        )

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open, which only more audio or a flush closes."""
        return False

    @property
    def received_s(self) -> float:
        """Seconds of audio received in this session."""
        return self._decoder.received_s

    @property
    def processed_s(self) -> float:
        """Seconds of audio that are processed on every channel: answered, or found to hold no speech."""
        unfinished_s = max(map(self._unfinished_samples, range(self._n_channels))) / self._rate
        return max(0.0, self.received_s - unfinished_s)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work, the model's above all, per second of audio received; 0 before the first audio."""
        return self._model_s / self.received_s + self._timing.factor if self.received_s > 0 else 0.0

    # --- for metrics (tally.Session): nanoseconds of audio, the sum of all channels ---

    @property
    def received_ns(self) -> int:
        decoder = self._decoder
        return self._n_channels * decoder.received_frames * NS_PER_S // decoder.format.sample_rate

    @property
    def unfinished_ns(self) -> int:
        n_samples = sum(map(self._unfinished_samples, range(self._n_channels)))
        return min(n_samples * NS_PER_S // self._rate, self.received_ns)

    # --- what a route defines ---

    def _take(self, planes: Samples) -> None:
        """Takes float32 of shape (channels, samples), at `rate`."""
        raise NotImplementedError

    def _take_timed(self, planes: Samples) -> float:
        """As `_take`; returns the seconds that the detector took, 0 without one."""
        self._take(planes)
        return 0.0

    def _take_waiting(self) -> None:
        """Processes what `_intake` has stored, when that is due."""
        raise NotImplementedError

    def _live_callbacks(self) -> tuple[dict[Any, Any] | None, Callable[[], object] | None, Callable[..., None]]:
        """`waiting`, `schedule` and `on_frames` of `LiveAudio`."""
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _unfinished_samples(self, channel: int) -> int:
        """Samples of a channel that are not processed: the pending ones, and those that are in no call yet."""
        return self._pending_samples(channel)

    def _open_id(self, channel: int) -> int | UnsetType:
        """The id of the open segment of a channel, or of the next one; UNSET when the client did not ask for ids."""
        return self._n_ids[channel] if self._has_ids else UNSET

    def _take_id(self, channel: int) -> int | UnsetType:
        """The same, for the last event of the segment: the next segment gets the next id."""
        id = self._n_ids[channel]
        self._n_ids[channel] += 1
        return id if self._has_ids else UNSET
