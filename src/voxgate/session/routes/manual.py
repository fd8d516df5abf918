"""The segmented route with ``"segmentation": "manual"``: the client ends each segment itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from voxgate._native.session import VadSession
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import Samples
from voxgate.session.routes.manual_segments import ManualSegments
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.segmented import endpoint_config
from voxgate.session.routes.speech_track import SpeechTrack
from voxgate.session.routes.utterances import UtteranceHandler

__all__ = ["ManualHandler"]


class ManualHandler(UtteranceHandler):
    """All audio reaches the model; a segment ends at a flush, at the end of the session, or when it reaches
    `vad.max_segment_s`. The detector runs only for a client that asks for probabilities.
    """

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        rules = endpoint_config(parts, start)
        n_channels = start.pcm.channels
        segments = ManualSegments(n_channels, rules.max_segment_samples, rules.interim_samples)
        super().__init__(parts, start, emit, on_progress, segments)
        self._segments = segments
        self._track = None
        if start.probabilities:
            self._track = SpeechTrack(VadSession(parts.detector.create(n_channels), rules), self._rate, emit)
        self._ended_frames = -1  # Frames received before the last flush or clear; -1: there was none.

    def flush(self) -> None:
        if self.speaking:
            self._ended_frames = self._decoder.received_frames
        super().flush()

    def clear(self) -> None:
        self._ended_frames = self._decoder.received_frames
        super().clear()

    def finish(self) -> None:
        rest = self._decoder.finish()
        # When no audio came after the last flush, the resampler's last millisecond is no segment of its own.
        if self._decoder.received_frames != self._ended_frames:
            self._take(rest)
        self._close()

    def _take(self, planes: Samples) -> None:
        if self._track is not None:
            self._track.feed(planes)
        self._handle(self._segments.feed(planes))

    def _take_timed(self, planes: Samples) -> float:
        took_s = 0.0
        if self._track is not None:
            began_s = time.perf_counter()
            self._track.feed(planes)
            took_s = time.perf_counter() - began_s
        self._handle(self._segments.feed(planes))
        return took_s

    def _close(self) -> None:
        if self._track is not None:
            self._track.finish()
        self._handle(self._segments.flush())
