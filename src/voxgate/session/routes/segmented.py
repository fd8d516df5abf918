"""The segmented route: only speech, cut into utterances."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sized
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, UnsetType

from voxgate._native.event import INTERIM, SPEECH_END, SPEECH_START, VadEvent
from voxgate._native.intake import DECLINED, WAITING
from voxgate._native.live import LiveAudio
from voxgate._native.session import VadSession
from voxgate.protocol.events import Active, Inactive, Probabilities
from voxgate.protocol.machine import longest_segment_s
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import LiveListener, RouteHandler
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.vad.batcher import Outcome

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["SegmentedHandler"]


PROBABILITIES_S = 0.125
"""Audio that one event with probabilities covers: a display that moves eight times a second looks smooth."""


class SegmentedHandler(RouteHandler):
    """Only speech reaches the model, cut by the voice-activity detector. `active` and `inactive` are emitted at once
    and never wait for the model.

    A channel has at most one interim queued or running: a newer one replaces it while it is queued, or follows it when
    it runs; the final replaces it in any case. At most `inference.per_stream` finals are submitted at once; further
    ones are deferred, in audio order.
    """

    __slots__ = ("_intake", "_session", "_vad_batcher")

    route = "segmented"

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(parts, start, emit, on_progress, parts.detector.sample_rate)
        vad = parts.vad.merged(start.vad)
        longest_s = longest_segment_s(parts.config.limits, self._n_channels)
        vad = dataclasses.replace(vad, max_segment_s=min(vad.max_segment_s, longest_s))
        detector = parts.detector.create(self._n_channels)
        # A client that asks for probabilities gets those of every frame: the frames run one by one.
        self._vad_batcher = None if start.probabilities else parts.vad_batcher
        self._session = VadSession(
            detector, vad.to_endpoint(detector.frame_samples, self._rate, interims=start.interim_results)
        )
        self._intake = None if self._vad_batcher is None else self._decoder.intake(self._session)
        self._interims: list[ModelCall | None] = [None] * self._n_channels
        self._newer: list[VadEvent | None] = [None] * self._n_channels
        self._open_pos: list[int | None] = [None] * self._n_channels
        """Where the open segment of each channel began."""
        # For a client that asks for probabilities: those of each channel that are not sent yet.
        self._unsent: list[list[float]] | None = [[] for _ in range(self._n_channels)] if start.probabilities else None
        self._frame_samples = detector.frame_samples
        self._no_audio: Samples = np.empty((self._n_channels, 0), np.float32)
        self._frames_per_event = max(1, round(PROBABILITIES_S * self._rate / self._frame_samples))
        self._frames_pos = 0  # the end of the last whole frame

    def feed(self, data: Buffer) -> None:
        intake = self._intake
        taken = DECLINED if intake is None else intake.take(data)
        if taken == WAITING:
            assert self._vad_batcher is not None
            self._vad_batcher.add(self._session, self._on_frames)
        elif taken == DECLINED:
            super().feed(data)
            if intake is not None:
                intake.due_frames = self._timing.due_frames

    def flush(self) -> None:
        self._handle(self._session.flush())

    def listener(
        self,
        *,
        max_bytes: int,
        events: Sized,
        clock: Callable[[], float],
        otherwise: Callable[[bytes], bool],
        on_failure: Callable[[], None],
    ) -> LiveListener | None:
        if self._intake is None or self._vad_batcher is None:
            return None
        return LiveAudio(
            self._intake,
            max_bytes=max_bytes,
            calls=self.calls,
            texts=events,
            waiting=self._vad_batcher.callbacks,
            schedule=self._vad_batcher.schedule,
            on_frames=self._on_frames,
            clock=clock,
            count=self._tally.binary,
            otherwise=otherwise,
            on_failure=on_failure,
        )

    @property
    def speaking(self) -> bool:
        return any(map(self._session.speaking, range(self._n_channels)))

    def abandon(self) -> None:
        super().abandon()
        if self._vad_batcher is not None:
            self._vad_batcher.discard(self._session)

    def _take(self, planes: Samples) -> None:
        if self._vad_batcher is None:
            self._handle(self._feed_by_frame(planes))
        elif self._session.take(planes):
            self._vad_batcher.add(self._session, self._on_frames)

    def _take_timed(self, planes: Samples) -> float:
        began_s = time.perf_counter()
        if self._vad_batcher is None:
            events = self._feed_by_frame(planes)
            took_s = time.perf_counter() - began_s
            self._handle(events)
            return took_s
        waits = self._session.take(planes)
        took_s = time.perf_counter() - began_s
        if waits:
            self._vad_batcher.add(self._session, self._on_frames)
            took_s += self._vad_batcher.share_s  # An estimate: the detector runs later.
        return took_s

    def _on_frames(self, outcome: Outcome) -> None:
        """The detector has run on the waiting frames, in the turn of the event loop in which they came, or the next."""
        self._guarded(partial(self._handle_outcome, outcome))

    def _handle_outcome(self, outcome: Outcome) -> None:
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            self._handle(outcome)
        finally:
            del outcome  # The traceback of an exception refers to this frame.

    def _close(self) -> None:
        events = self._session.finish()
        if self._unsent is not None:
            if self._frames_pos < self._session.received_pos:  # The last, partial frame.
                self._add_frame()
            self._send_probabilities()
        self._handle(events)

    def _feed_by_frame(self, planes: Samples) -> list[VadEvent]:
        """Feeds the session frame by frame, because it knows only the probability of its last frame. The events are the
        same as those of feeding at once.
        """
        events: list[VadEvent] = []
        n_samples, begin = planes.shape[1], 0
        while begin < n_samples:
            end = min(n_samples, begin + self._frames_pos + self._frame_samples - self._session.received_pos)
            events += self._session.feed(planes[:, begin:end])
            begin = end
            if self._session.received_pos - self._frames_pos == self._frame_samples:
                self._add_frame()
        return events

    def _add_frame(self) -> None:
        assert self._unsent is not None
        for channel, values in enumerate(self._unsent):
            values.append(self._session.last_probability(channel))
        self._frames_pos += self._frame_samples
        if len(self._unsent[0]) >= self._frames_per_event:
            self._send_probabilities()

    def _send_probabilities(self) -> None:
        assert self._unsent is not None
        for channel, values in enumerate(self._unsent):
            if values:
                start_pos = self._frames_pos - len(values) * self._frame_samples
                step_s = self._frame_samples / self._rate
                self._emit(Probabilities(start_pos / self._rate, step_s, values, channel))
        self._unsent = [[] for _ in self._unsent]

    def _unfinished_samples(self, channel: int) -> int:
        open_pos = self._open_pos[channel]
        n_open = 0 if open_pos is None else self._session.received_pos - open_pos
        return super()._unfinished_samples(channel) + n_open

    def _handle(self, events: list[VadEvent]) -> None:
        interims: dict[int, VadEvent] = {}
        for event in events:
            channel = event.channel
            if event.kind == INTERIM:
                self._tally.interims_superseded += channel in interims
                interims[channel] = event  # Submitted only if the segment is still open after all events.
            elif event.kind == SPEECH_START:
                self._open_pos[channel], self._metrics.began_s[channel] = event.start_pos, time.perf_counter()
                self._emit(Active(event.start_pos / self._rate, channel, self._open_id(channel)))
                if self.trace is not None:
                    self.trace.speech_started(channel, event.start_pos / self._rate)
            else:
                segment_id = self._id_at_end(event)
                if event.kind == SPEECH_END:
                    self._open_pos[channel] = None
                    self._emit(Inactive(event.end_pos / self._rate, channel, segment_id))
                    if self.trace is not None:
                        self.trace.speech_ended(channel, event.end_pos / self._rate, event.audio is not None)
                else:
                    self._open_pos[channel] = event.end_pos  # A cut: the next segment begins here.
                self._metrics.began_s[channel] = None
                self._tally.interims_superseded += interims.pop(channel, None) is not None
                self._supersede(channel)
                if event.audio is not None:
                    call = self._new_call(
                        channel, event.audio, event.start_pos, event.end_pos, is_final=True, segment_id=segment_id
                    )
                    self._submit(call)
        for event in interims.values():
            self._interim(event)

    def _id_at_end(self, event: VadEvent) -> int | UnsetType:
        """The id of the segment that ends here or is cut here. Speech that ends exactly at a cut opens no
        further segment: its end belongs to the segment before.
        """
        if event.audio is not None:
            return self._take_id(event.channel)
        return UNSET if (next_id := self._open_id(event.channel)) is UNSET else next_id - 1

    def _interim(self, event: VadEvent) -> None:
        channel = event.channel
        self._tally.interims_superseded += self._newer[channel] is not None
        self._newer[channel] = None
        before = self._interims[channel]
        if before is not None and not self._withdraw(before):
            self._newer[channel] = event
            return
        self._tally.interims_superseded += before is not None
        audio = self._session.read(channel, event.start_pos, event.end_pos)
        segment_id = self._open_id(channel)
        call = self._new_call(channel, audio, event.start_pos, event.end_pos, is_final=False, segment_id=segment_id)
        self._interims[channel] = call
        self._submit(call)

    def _on_over(self, call: ModelCall) -> None:
        channel = call.channel
        if call is not self._interims[channel]:
            return
        self._interims[channel] = None
        if self._newer[channel] is not None:
            # Frames that the session has taken since may have ended the segment, whose audio is then gone.
            self._handle(self._session.feed(self._no_audio))
        newer, self._newer[channel] = self._newer[channel], None
        if newer is not None:
            self._interim(newer)

    def _supersede(self, channel: int) -> None:
        """The segment is over: its interim is no longer needed, queued or running."""
        self._tally.interims_superseded += self._newer[channel] is not None
        self._newer[channel] = None
        before = self._interims[channel]
        if before is not None:
            self._tally.interims_superseded += not before.is_dropped
            self._drop(before)
            self._withdraw(before)  # Otherwise it runs, and the channel has no other interim until it returns.
