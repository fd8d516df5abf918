"""The segmented route: only speech, cut into utterances."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from voxgate._native.endpoint import EndpointConfig
from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession
from voxgate.protocol.machine import longest_segment_s
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.speech_track import SpeechTrack
from voxgate.session.routes.utterances import UtteranceHandler
from voxgate.vad.batcher import Outcome
from voxgate.vad.config import VadConfig
from voxgate.vad.turns import TurnConfig

__all__ = ["SegmentedHandler", "endpoint_config", "turn_of"]


def endpoint_config(parts: RouteParts, start: Start) -> EndpointConfig:
    """The rules of segments for one session, in samples at the detector's rate."""
    vad = parts.vad.merged(start.vad)
    longest_s = longest_segment_s(parts.config.limits, start.pcm.channels)
    vad = dataclasses.replace(vad, max_segment_s=min(vad.max_segment_s, longest_s))
    detector = parts.detector
    turn = turn_of(parts, start)
    judge = None if turn is None else parts.turn_judge
    return _rules_of(
        vad,
        detector.frame_samples,
        detector.sample_rate,
        interims=start.interim_results,
        speculate_ms=parts.config.vad.speculate_ms,
        turn=turn,
        turn_window_s=1 if judge is None else judge.window_s,
    )


# Equal rules are one object: with many streams, objects of their own would have to come from memory for each frame.
_rules_of = lru_cache(maxsize=64)(VadConfig.to_endpoint)


def turn_of(parts: RouteParts, start: Start) -> TurnConfig | None:
    """The rules of turn detection for one session; None: silence alone ends its segments."""
    if not parts.config.turn.detector or start.segmentation == "manual":
        return None
    turn, vad = parts.turn.merged(start.turn), parts.vad.merged(start.vad)
    return turn if turn.is_ever_asked(vad.silence_duration_ms, vad.suffix_padding_ms) else None


class SegmentedHandler(UtteranceHandler):
    """Only speech reaches the model, cut by the voice-activity detector."""

    __slots__ = ("_session", "_vad_batcher")

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        detector = parts.detector.create(start.pcm.channels)
        self._session = VadSession(detector, endpoint_config(parts, start))
        super().__init__(parts, start, emit, on_progress, self._session)
        # A client that asks for probabilities gets those of every frame: the frames run one by one.
        self._track = SpeechTrack(self._session, self._rate, emit) if start.probabilities else None
        self._vad_batcher = None if self._track is not None else parts.vad_batcher
        if self._vad_batcher is not None:
            self._intake = self._decoder.intake(self._session)

    def _take_waiting(self) -> None:
        assert self._vad_batcher is not None
        self._vad_batcher.add(self._session, self._on_frames)

    def _live_callbacks(self) -> tuple[dict[Any, Any], Callable[[], object], Callable[..., None]]:
        assert self._vad_batcher is not None
        return self._vad_batcher.callbacks, self._vad_batcher.schedule, self._on_frames

    def abandon(self) -> None:
        super().abandon()
        if self._vad_batcher is not None:
            self._vad_batcher.discard(self._session)

    def in_order(self, step: Callable[[], None]) -> None:
        self._handle(self._fed(self._no_audio))  # The detector may not have looked at all frames yet.
        step()

    def _fed(self, planes: Samples) -> list[VadEvent]:
        return self._session.feed(planes) if self._track is None else self._track.feed(planes)

    def _take(self, planes: Samples) -> None:
        if self._vad_batcher is None:
            self._handle(self._fed(planes))
        elif self._session.take(planes):
            self._vad_batcher.add(self._session, self._on_frames)

    def _take_timed(self, planes: Samples) -> float:
        began_s = time.perf_counter()
        if self._vad_batcher is None:
            assert self._track is not None
            events = self._track.feed(planes)
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
        self._guarded(self._handle_outcome, outcome)

    def _handle_outcome(self, outcome: Outcome) -> None:
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            self._handle(outcome)
        finally:
            del outcome  # The traceback of an exception refers to this frame.

    def _close(self) -> None:
        self._handle(self._session.finish() if self._track is None else self._track.finish())
