"""The segmented route: speech alone, cut into utterances."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from voxgate._native.session import INTERIM, SPEECH_END, SPEECH_START, VadEvent, VadSession
from voxgate.messages import Active, Inactive, Start

from .base import Call, Emit, Runner, Samples

if TYPE_CHECKING:
    from voxgate.service import Service


class SegmentedRunner(Runner):
    """Only speech reaches the model, cut by the voice-activity detector. `active` and `inactive` leave at once, never
    behind it.

    A channel has at most one interim queued or running: a newer one replaces it while it waits, or follows it when it
    runs; the final takes its place in any case. At most `inference.per_stream` finals are asked for at once; further
    ones wait here, in audio order.
    """

    route = "segmented"

    def __init__(self, service: Service, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(service, start, emit, on_progress, service.detector.sample_rate)
        vad = service.vad.merged(start.vad)
        detector = service.detector.create(self._n_channels)
        self._session = VadSession(
            detector, vad.to_endpoint(detector.frame_samples, self._rate, interims=start.interim_results)
        )
        self._interims: list[Call | None] = [None] * self._n_channels
        self._newer: list[VadEvent | None] = [None] * self._n_channels
        self._open_pos: list[int | None] = [None] * self._n_channels
        """Where the open segment of each channel began."""

    def flush(self) -> None:
        self._handle(self._session.flush())

    @property
    def speaking(self) -> bool:
        return any(map(self._session.speaking, range(self._n_channels)))

    def _take(self, planes: Samples) -> None:
        began_s = time.perf_counter()
        events = self._session.feed(planes)
        self._vad_s += time.perf_counter() - began_s
        if events:
            self._handle(events)

    def _close(self) -> None:
        self._handle(self._session.finish())

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
                interims[channel] = event  # asked for only when the segment is still open after all events
            elif event.kind == SPEECH_START:
                self._open_pos[channel], self._answers.began_s[channel] = event.start_pos, time.perf_counter()
                self._emit(Active(event.start_pos / self._rate, channel))
            else:
                if event.kind == SPEECH_END:
                    self._open_pos[channel] = None
                    self._emit(Inactive(event.end_pos / self._rate, channel))
                else:
                    self._open_pos[channel] = event.end_pos  # cut: what follows is the next segment
                self._answers.began_s[channel] = None
                self._tally.interims_superseded += interims.pop(channel, None) is not None
                self._supersede(channel)
                if event.audio is not None:
                    self._ask(channel, event.audio, event.start_pos, event.end_pos, is_final=True)
        for event in interims.values():
            self._interim(event)

    def _interim(self, event: VadEvent) -> None:
        channel = event.channel
        before = self._interims[channel]
        if before is not None:
            self._tally.interims_superseded += not before.job.taken_s or self._newer[channel] is not None
            if before.job.taken_s:
                self._newer[channel] = event
                return
            self._cancel(before)
        audio = self._session.read(channel, event.start_pos, event.end_pos)
        call = self._ask(channel, audio, event.start_pos, event.end_pos, is_final=False)
        self._interims[channel] = call if call.job in self._calls else None

    def _answered(self, call: Call) -> None:
        channel = call.channel
        if call is self._interims[channel]:
            newer, self._interims[channel], self._newer[channel] = self._newer[channel], None, None
            if newer is not None:
                self._interim(newer)

    def _supersede(self, channel: int) -> None:
        """The segment is over: its interim is not wanted any more, waiting or running."""
        self._tally.interims_superseded += self._newer[channel] is not None
        self._newer[channel] = None
        before = self._interims[channel]
        if before is None:
            return
        self._tally.interims_superseded += not before.dropped
        if before.job.taken_s:
            self._drop(before)  # and no other interim of this channel before it has returned
        else:
            self._interims[channel] = None
            self._cancel(before)
