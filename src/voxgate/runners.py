"""One open session: the audio of all its channels becomes model calls, and their results become replies in audio order.

Everything here runs on the event loop's thread and never awaits: `feed` decodes, detects and submits; results come back through
the scheduler, on the same thread. Whoever owns a runner watches `backlog_s` (is the model behind?) and `owed` (is anything still
to be answered?), and is called back whenever either went down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from voxgate._native.ring import SampleRing
from voxgate._native.session import INTERIM, SPEECH_END, SPEECH_START, VadEvent, VadSession
from voxgate.audio import StreamDecoder
from voxgate.engine.base import Job
from voxgate.errors import VoxgateError
from voxgate.messages import UNSET, Active, Error, Event, Inactive, Segment, Start

if TYPE_CHECKING:
    from collections.abc import Buffer

    from voxgate.service import Service

Route = Literal["simple", "segmented"]

# How much audio of a session `feed` should be given in one turn of the event loop, over all channels: about a millisecond of work.
FEED_SLICE_S = 1.0

Emit = Callable[[Event], None]
Samples = NDArray[np.float32]


class Reply:
    """A place in the order of a channel's replies, kept until it is known what stands there."""

    __slots__ = ("event", "settled")

    def __init__(self) -> None:
        self.event: Event | None = None
        self.settled = False


class Replies:
    """The replies of one channel: reserved in audio order, settled in any order, sent in audio order."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting: deque[Reply] = deque()

    def reserve(self) -> Reply:
        reply = Reply()
        self._waiting.append(reply)
        return reply

    def settle(self, reply: Reply, event: Event | None) -> None:
        """Says what stands at `reply`'s place; None leaves the place empty."""
        reply.event, reply.settled = event, True
        while self._waiting and self._waiting[0].settled:
            event = self._waiting.popleft().event
            if event is not None:
                self._emit(event)


@dataclass(eq=False, slots=True)
class Call:
    """One model call of a channel: the audio it is about, and where its answer goes. `is_final` None: a route without interims."""

    channel: int
    start_pos: int
    end_pos: int
    is_final: bool | None
    reply: Reply
    job: Job


class Runner:
    """What the routes share: decoding, model calls and their bookkeeping.

    `rate` (Hz) is that of all positions. `emit` receives every event at once and must not block; `on_progress` is called after
    each result.
    """

    def __init__(self, service: Service, start: Start, emit: Emit, on_progress: Callable[[], None], rate: int) -> None:
        audio = service.config.audio
        self._scheduler = service.scheduler
        self._emit = emit
        self._on_progress = on_progress
        self._rate = rate
        self._n_channels = start.format.channels
        self._decoder = StreamDecoder(start.format, rate, resampler=audio.resampler, soxr_quality=audio.soxr_quality)
        self._replies = [Replies(emit) for _ in range(self._n_channels)]
        self._calls: set[Call] = set()
        self._in_calls_samples = 0
        self._model_s = 0.0
        self.results = 0
        self.errors = 0

    # What the connection calls.

    def feed(self, data: Buffer) -> None:
        """Takes interleaved wire bytes, cut anywhere. Takes time in proportion: the caller slices what is long."""
        self._take(self._decoder.push(data))

    def flush(self) -> None:
        """Asks about what has been heard so far without waiting for more; the session goes on."""
        raise NotImplementedError

    def finish(self) -> None:
        """No more audio will come: what is still open is closed. Replies follow until `owed` is 0."""
        self._take(self._decoder.finish())
        self._close()

    def abandon(self) -> None:
        """Nobody listens any more: queued calls are dropped, results of running ones thrown away."""
        for call in self._calls:
            self._scheduler.cancel(call.job)
        self._calls.clear()

    @property
    def owed(self) -> int:
        """Calls whose result or error has not been handed out."""
        return len(self._calls)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio, averaged over the channels, that wait for the model or are in it; interims, which may be dropped, aside."""
        return (self._in_calls_samples + self._waiting_samples()) / (self._rate * self._n_channels)

    @property
    def received_s(self) -> float:
        """Seconds of audio received in this session."""
        return self._decoder.received_s

    @property
    def processed_s(self) -> float:
        """Seconds of audio that are done with: answered, or found to hold no speech."""
        return max(0.0, self.received_s - self.backlog_s)

    @property
    def real_time_factor(self) -> float:
        """Seconds the model ran per second of audio received; 0 before the first audio."""
        return self._model_s / self.received_s if self.received_s > 0 else 0.0

    # What a route defines.

    def _take(self, planes: Samples) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _waiting_samples(self) -> int:
        """Samples of all channels that are held back from the model for now."""
        return 0

    def _answered(self, call: Call) -> None:
        """A call is over; its reply is settled."""

    # Model calls.

    def _ask(self, channel: int, audio: Samples, start_pos: int, end_pos: int, is_final: bool | None) -> Call:
        """Asks the model about `audio`; the answer has its place among the channel's replies from now on."""
        job = Job(audio, self._rate, final=is_final is not False, stream=self, on_done=lambda job: self._done(call))
        call = Call(channel, start_pos, end_pos, is_final, self._replies[channel].reserve(), job)
        self._calls.add(call)
        if is_final is not False:
            self._in_calls_samples += len(audio)
        try:
            self._scheduler.submit(job)
        except VoxgateError as error:
            job.error = error
            self._settle(call)
        return call

    def _done(self, call: Call) -> None:
        self._model_s += call.job.run_s / max(1, call.job.batch_size)
        self._settle(call)
        self._answered(call)
        self._on_progress()

    def _settle(self, call: Call) -> None:
        self._forget(call)
        error = call.job.error
        event: Event | None
        if error is None:
            event = Segment(
                start_time=call.start_pos / self._rate,
                end_time=call.end_pos / self._rate,
                is_final=UNSET if call.is_final is None else call.is_final,
                output=call.job.result or {},
                channel=call.channel,
            )
            self.results += 1
        elif call.is_final is False:
            event = None  # An interim may be dropped; its error would be taken for the one of the final.
        else:
            event = Error(message=str(error), code=error.code, channel=call.channel)
            self.errors += 1
        self._replies[call.channel].settle(call.reply, event)

    def _cancel(self, call: Call) -> None:
        """Nobody wants the answer any more; its place stays empty."""
        self._scheduler.cancel(call.job)
        self._forget(call)
        self._replies[call.channel].settle(call.reply, None)

    def _forget(self, call: Call) -> None:
        self._calls.discard(call)
        if call.is_final is not False:
            self._in_calls_samples -= len(call.job.audio)


class SimpleRunner(Runner):
    """All audio reaches the model, in whatever groups have arrived; calls of a stream run at once, answers come in audio order."""

    def __init__(self, service: Service, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(service, start, emit, on_progress, service.model.sample_rate)
        config = service.config
        self._per_stream = config.inference.per_stream
        self._min_chunk_samples = max(1, round(config.simple.min_chunk_ms * self._rate / 1000))
        self._max_chunk_samples = max(self._min_chunk_samples, round(config.simple.max_chunk_s * self._rate))
        capacity_s = config.limits.buffered_audio_s + FEED_SLICE_S + 1
        self._rings = [SampleRing(round(capacity_s * self._rate)) for _ in range(self._n_channels)]
        self._urgent_pos = 0  # audio before it goes to the model however little it is

    def flush(self) -> None:
        self._urgent_pos = self._rings[0].end_pos
        self._dispatch()

    def _take(self, planes: Samples) -> None:
        for ring, plane in zip(self._rings, planes, strict=True):
            ring.push(plane)
        self._dispatch()

    def _close(self) -> None:
        self.flush()

    def _answered(self, call: Call) -> None:
        self._dispatch()

    def _waiting_samples(self) -> int:
        return sum(map(len, self._rings))

    def _dispatch(self) -> None:
        while len(self._calls) < self._per_stream:
            channel = max(range(self._n_channels), key=lambda channel: len(self._rings[channel]))
            ring = self._rings[channel]
            start_pos = ring.start_pos
            if len(ring) < (1 if start_pos < self._urgent_pos else self._min_chunk_samples):
                return
            end_pos = min(ring.end_pos, start_pos + self._max_chunk_samples)
            self._ask(channel, ring.read(start_pos, end_pos), start_pos, end_pos, is_final=None)
            ring.discard_before(end_pos)


class SegmentedRunner(Runner):
    """Only speech reaches the model, cut by the voice-activity detector. `active` and `inactive` leave at once, never behind it.

    A channel has at most one interim queued or running: a newer one replaces it while it waits, or follows it when it runs; the
    final takes its place in any case.
    """

    def __init__(self, service: Service, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(service, start, emit, on_progress, service.detector.sample_rate)
        vad = service.vad.merged(start.vad)
        detector = service.detector.create(self._n_channels)
        self._session = VadSession(
            detector, vad.to_endpoint(detector.frame_samples, self._rate, interims=start.interim_results)
        )
        self._interims: list[Call | None] = [None] * self._n_channels
        self._newer: list[VadEvent | None] = [None] * self._n_channels

    def flush(self) -> None:
        self._handle(self._session.flush())

    def _take(self, planes: Samples) -> None:
        events = self._session.feed(planes)
        if events:
            self._handle(events)

    def _close(self) -> None:
        self._handle(self._session.finish())

    def _handle(self, events: list[VadEvent]) -> None:
        interims: dict[int, VadEvent] = {}
        for event in events:
            channel = event.channel
            if event.kind == INTERIM:
                interims[channel] = event  # asked for only when the segment is still open after all events
            elif event.kind == SPEECH_START:
                self._emit(Active(event.start_pos / self._rate, channel))
            else:
                if event.kind == SPEECH_END:
                    self._emit(Inactive(event.end_pos / self._rate, channel))
                interims.pop(channel, None)
                self._supersede(channel)
                if event.audio is not None:
                    self._ask(channel, event.audio, event.start_pos, event.end_pos, is_final=True)
        for event in interims.values():
            self._interim(event)

    def _interim(self, event: VadEvent) -> None:
        channel = event.channel
        before = self._interims[channel]
        if before is not None:
            if before.job.taken_s:
                self._newer[channel] = event
                return
            self._cancel(before)
        audio = self._session.read(channel, event.start_pos, event.end_pos)
        call = self._ask(channel, audio, event.start_pos, event.end_pos, is_final=False)
        self._interims[channel] = call if call in self._calls else None

    def _answered(self, call: Call) -> None:
        channel = call.channel
        if call is self._interims[channel]:
            newer, self._interims[channel], self._newer[channel] = self._newer[channel], None, None
            if newer is not None:
                self._interim(newer)

    def _supersede(self, channel: int) -> None:
        """The segment is over: its interim is not wanted any more, waiting or running."""
        before, self._interims[channel], self._newer[channel] = self._interims[channel], None, None
        if before is not None:
            self._cancel(before)


RUNNERS: dict[Route, type[SimpleRunner] | type[SegmentedRunner]] = {
    "simple": SimpleRunner,
    "segmented": SegmentedRunner,
}
