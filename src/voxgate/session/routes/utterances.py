"""What becomes of segments: active and inactive at once, interims while a segment is open, and a final at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from voxgate._native.event import INTERIM, QUESTION, RESUMED, SPECULATE, SPEECH_END, SPEECH_START, VadEvent
from voxgate.inference.engine.base import Job
from voxgate.protocol.events import Active, Inactive, Segment
from voxgate.protocol.machine import Route
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.speculation import SpeculatingHandler
from voxgate.session.routes.stable_text import StableText

__all__ = ["Segmenter", "UtteranceHandler"]


class Segmenter(Protocol):
    """Cuts the audio of all channels into segments: a VadSession, or ManualSegments."""

    @property
    def received_pos(self) -> int: ...
    def feed(self, planes: Samples, /) -> list[VadEvent]: ...
    def flush(self) -> list[VadEvent]: ...
    def clear(self) -> list[VadEvent]: ...
    def read(self, channel: int, start_pos: int, end_pos: int, /) -> Samples: ...
    def speaking(self, channel: int, /) -> bool: ...


class UtteranceHandler(SpeculatingHandler):
    """Turns the events of a segmenter into replies and model calls. `active` and `inactive` are emitted at once and
    never wait for the model.

    A channel has at most one interim queued or running: a newer one replaces it while it is queued, or follows it when
    it runs; the final replaces it in any case. At most `inference.per_stream` finals are submitted at once; further
    ones are deferred, in audio order.
    """

    route: ClassVar[Route] = "segmented"

    def __init__(
        self,
        parts: RouteParts,
        start: Start,
        emit: Emit,
        on_progress: Callable[[], None],
        segmenter: Segmenter,
    ) -> None:
        """`segmenter`: of this stream alone, at the detector's rate."""
        super().__init__(parts, start, emit, on_progress, parts.detector.sample_rate)
        self._segmenter = segmenter
        self._interims: list[ModelCall | None] = [None] * self._n_channels
        self._newer: list[VadEvent | None] = [None] * self._n_channels
        self._open_pos: list[int | None] = [None] * self._n_channels
        """Where the open segment of each channel began."""
        self._stable_texts = [StableText() for _ in range(self._n_channels)] if start.stability else None
        self._no_audio: Samples = np.empty((self._n_channels, 0), np.float32)

    def flush(self) -> None:
        self._handle(self._segmenter.flush())

    def clear(self) -> None:
        self._handle(self._segmenter.feed(self._no_audio))  # Frames that wait may open or end a segment.
        open_channels = [channel for channel in range(self._n_channels) if self._segmenter.speaking(channel)]
        self._segmenter.clear()
        for channel in open_channels:
            self._end_speech(channel, self._segmenter.received_pos, self._take_id(channel), has_final=False)
            self._close_segment(channel)
            self._begin_text(channel)
            self._drop_speculation(channel)

    @property
    def speaking(self) -> bool:
        return any(map(self._segmenter.speaking, range(self._n_channels)))

    def _unfinished_samples(self, channel: int) -> int:
        open_pos = self._open_pos[channel]
        n_open = 0 if open_pos is None else self._segmenter.received_pos - open_pos
        return super()._unfinished_samples(channel) + n_open

    def _handle(self, events: list[VadEvent]) -> None:
        interims: dict[int, VadEvent] = {}
        speculations: dict[int, VadEvent] = {}
        questions: dict[int, VadEvent] = {}
        for event in events:
            channel = event.channel
            if event.kind == INTERIM:
                self._tally.interims_superseded += channel in interims
                interims[channel] = event  # Submitted only if the segment is still open after all events.
            elif event.kind == SPECULATE:
                speculations[channel] = event  # The same.
            elif event.kind == QUESTION:
                questions[channel] = event  # The same.
            elif event.kind == RESUMED:
                speculations.pop(channel, None)
                self._resume(event)
            elif event.kind == SPEECH_START:
                self._open_pos[channel], self._metrics.began_s[channel] = event.start_pos, time.perf_counter()
                self._emit(Active(event.start_pos / self._rate, channel, self._open_id(channel)))
                if self.trace is not None:
                    self.trace.speech_started(channel, event.start_pos / self._rate)
            else:
                segment_id = self._id_at_end(event)
                if event.kind == SPEECH_END:
                    self._end_speech(channel, event.end_pos, segment_id, event.audio is not None)
                else:
                    self._open_pos[channel] = event.end_pos  # A cut: the next segment begins here.
                self._tally.interims_superseded += interims.pop(channel, None) is not None
                self._close_segment(channel)
                speculations.pop(channel, None)
                questions.pop(channel, None)
                if event.audio is not None:
                    self._answer_segment(event, segment_id)
        for event in speculations.values():
            self._speculate(event)
        for event in interims.values():
            self._interim(event)
        if questions:
            self._ask(list(questions.values()))

    def _ask(self, questions: list[VadEvent]) -> None:
        """Speech has paused on some channels, and the segmenter waits for answers."""
        raise AssertionError("only a session with a turn detector asks")

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
        audio = self._segmenter.read(channel, event.start_pos, event.end_pos)
        segment_id = self._open_id(channel)
        call = self._new_call(channel, audio, event.start_pos, event.end_pos, is_final=False, segment_id=segment_id)
        self._interims[channel] = call
        self._submit(call)

    def _segment_of(self, call: ModelCall, output: Output, is_final: bool | UnsetType) -> Segment:
        segment = super()._segment_of(call, output, is_final)
        if is_final is not False or self._stable_texts is None or output.transcript is None:
            return segment
        stable = call.stable_text or self._stable_texts[call.channel]
        return replace(segment, stable_text=stable.update(output.transcript.text))

    def _answer_segment(self, event: VadEvent, segment_id: int | UnsetType) -> None:
        super()._answer_segment(event, segment_id)
        self._begin_text(event.channel)

    def _call_of(self, job: Job, channel: int, *place: Any) -> ModelCall:
        call = super()._call_of(job, channel, *place)
        if call.is_final and self._stable_texts is not None:
            call.stable_text = self._stable_texts[channel]  # Its interims may come when the next segment is open.
        return call

    def _begin_text(self, channel: int) -> None:
        """The interims that follow are those of another segment."""
        if self._stable_texts is not None:
            self._stable_texts[channel] = StableText()

    def _on_over(self, call: ModelCall) -> None:
        channel = call.channel
        if call is not self._interims[channel]:
            return
        self._interims[channel] = None
        if self._newer[channel] is not None:
            # Frames that the session has taken since may have ended the segment, whose audio is then gone.
            self._handle(self._segmenter.feed(self._no_audio))
        newer, self._newer[channel] = self._newer[channel], None
        if newer is not None:
            self._interim(newer)

    def _end_speech(self, channel: int, end_pos: int, segment_id: int | UnsetType, has_final: bool) -> None:
        self._open_pos[channel] = None
        self._emit(Inactive(end_pos / self._rate, channel, segment_id))
        if self.trace is not None:
            self.trace.speech_ended(channel, end_pos / self._rate, has_final)

    def _close_segment(self, channel: int) -> None:
        """The segment is over."""
        self._metrics.began_s[channel] = None
        self._drop_interim(channel)

    def _drop_interim(self, channel: int) -> None:
        self._tally.interims_superseded += self._newer[channel] is not None
        self._newer[channel] = None
        before = self._interims[channel]
        if before is not None:
            self._tally.interims_superseded += not before.is_dropped
            self._drop(before)
            self._withdraw(before)  # Otherwise it runs, and the channel has no other interim until it returns.
