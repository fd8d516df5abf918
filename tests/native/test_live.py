"""LiveAudio: what goes straight into the session, what goes the other way, and what is counted."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any

import numpy as np
import pytest

from voxgate._native.endpoint import EndpointConfig
from voxgate._native.intake import Intake, RingIntake
from voxgate._native.live import LiveAudio
from voxgate._native.pcm import PcmDecoder
from voxgate._native.ring import SampleRing
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions
from voxgate._native.websocket import FrameReceiver, ReadBuffer
from voxgate.vad import load_detector

SAMPLES = (np.random.default_rng(0).standard_normal(4000) * 3000).astype(np.int16)


class Parts:
    """A LiveAudio, and everything around it."""

    def __init__(self, **others: Any) -> None:
        rules = EndpointConfig(
            512, prefix_samples=0, suffix_samples=0, silence_samples=512, min_speech_samples=0,
            max_segment_samples=16_000, threshold=0.0, negative_threshold=0.0,
        )  # fmt: skip
        self.session = VadSession(load_detector("silero").create(1), rules)
        self.intake = Intake(PcmDecoder("s16", 1), None, self.session)
        self.intake.due_frames = 1 << 60
        self.unchecked: dict[Any, Any] = {}
        self.texts: deque[str] = deque()
        self.waiting: dict[VadSession, Any] = {}
        self.count = array("q", (0, 0))
        self.now_s = 5.0
        self.others: list[bytes] = []
        self.failures: list[BaseException] = []
        self.n_scheduled = 0
        self.live = LiveAudio(
            self.intake, max_bytes=2000, unchecked=self.unchecked, texts=self.texts, waiting=self.waiting,
            schedule=self.schedule, on_frames=self.on_frames, clock=lambda: self.now_s, count=self.count,
            otherwise=self.otherwise, on_failure=self.on_failure, **others,
        )  # fmt: skip
        self.live.is_open = True

    def schedule(self) -> None:
        assert self.session in self.waiting
        self.n_scheduled += 1

    def on_frames(self, outcome: Any) -> None:
        raise AssertionError("not here")

    def otherwise(self, data: bytes) -> bool:
        self.others.append(data)
        return data != b"no"

    def on_failure(self) -> None:
        import sys

        error = sys.exc_info()[1]
        assert error is not None
        self.failures.append(error)


def test_audio_goes_into_the_session():
    parts = Parts()
    assert parts.live.heard_s == 5.0
    parts.now_s = 6.0
    for begin in range(0, 1600, 320):
        assert parts.live(SAMPLES[begin : begin + 320].tobytes()) is True
    assert (parts.session.received_pos, parts.live.heard_s) == (1600, 6.0)
    assert list(parts.count) == [5, 3200]
    assert parts.others == []
    assert (parts.n_scheduled, parts.waiting) == (1, {parts.session: parts.on_frames})
    alone = Parts().session
    expected = alone.feed(SAMPLES[None, :1600].astype(np.float32) / 32768)
    [(_, events)] = step_sessions([parts.session])
    assert [(e.kind, e.start_pos, e.end_pos) for e in events] == [(e.kind, e.start_pos, e.end_pos) for e in expected]


@pytest.mark.parametrize("why", ["closed", "call", "text", "long", "empty", "due"])
def test_what_is_not_as_simple_goes_the_other_way(why):
    parts, data = Parts(), bytes(640)
    if why == "closed":
        parts.live.is_open = False
    elif why == "call":
        parts.unchecked["job"] = "call"
    elif why == "text":
        parts.texts.append("event")
    elif why == "long":
        data = bytes(2002)
    elif why == "empty":
        data = b""
    else:
        parts.intake.due_frames = 0
    assert parts.live(data) is True
    assert parts.others == [data]
    assert (parts.session.received_pos, list(parts.count), parts.waiting) == (0, [0, 0], {})


def test_the_other_way_may_decline():
    parts = Parts()
    parts.live.is_open = False
    assert parts.live(b"no") is False


def test_a_failure_is_handed_on_and_the_message_counts():
    parts = Parts()
    parts.session.finish()
    assert parts.live(bytes(640)) is True
    assert [str(error) for error in parts.failures] == ["feed() after finish(): reset() begins a new stream"]
    assert list(parts.count) == [1, 640]
    assert parts.others == []


def test_from_a_frame_in_the_read_buffer():
    parts, receiver = Parts(), FrameReceiver()
    receiver.set_up(ReadBuffer(), max_bytes=1 << 20, max_fragments=3, n_frames=100)
    receiver.listener = parts.live
    assert receiver.listener is parts.live
    receiver.is_held = False
    key = b"\x11\x22\x33\x44"
    for begin in range(0, 4000, 400):
        data = SAMPLES[begin : begin + 400].tobytes()
        wire = bytes([0x82, 0xFE]) + len(data).to_bytes(2) + key
        wire += bytes(byte ^ key[k & 3] for k, byte in enumerate(data))
        receiver.get_buffer(-1)[: len(wire)] = wire
        receiver.buffer_updated(len(wire))
    assert list(parts.count) == [10, 8000]
    assert np.array_equal(parts.session.read(0, 3000, 4000), SAMPLES[3000:].astype(np.float32) / 32768)


def test_audio_goes_into_rings_and_says_when_there_is_enough():
    parts, ring, lengths = Parts(), SampleRing(10_000), []

    def on_due() -> None:
        lengths.append(len(ring))
        ring.discard_before(ring.end_pos)
        if len(lengths) == 2:
            raise RuntimeError("no model")

    intake = RingIntake(PcmDecoder("s16", 1), None, [ring], 1000)
    intake.due_frames = 1 << 60
    live = LiveAudio(
        intake, max_bytes=2000, unchecked=parts.unchecked, texts=parts.texts, waiting=None, schedule=None,
        on_frames=on_due, clock=lambda: 0.0, count=parts.count, otherwise=parts.otherwise, on_failure=parts.on_failure,
    )  # fmt: skip
    live.is_open = True
    for begin in range(0, 2880, 320):
        assert live(SAMPLES[begin : begin + 320].tobytes()) is True
    assert (lengths, len(ring), list(parts.count)) == ([1280, 1280], 320, [9, 5760])
    assert [str(error) for error in parts.failures] == ["no model"]


def test_misuse():
    with pytest.raises(TypeError, match="data must be bytes, got bytearray"):
        Parts().live(bytearray(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be pickled"):
        Parts().live.__reduce__()
    parts = Parts()
    names = ("unchecked", "texts", "waiting", "schedule", "on_frames", "otherwise", "on_failure")
    options = {name: getattr(parts, name) for name in names}
    with pytest.raises(ValueError, match="count must have 2 numbers, got 3"):
        LiveAudio(parts.intake, max_bytes=1, clock=lambda: 0.0, count=array("q", (0, 0, 0)), **options)
    with pytest.raises(TypeError, match="waiting must be None with this intake"):
        LiveAudio(
            RingIntake(PcmDecoder("s16", 1), None, [SampleRing(10)], 1), max_bytes=1, clock=lambda: 0.0,
            count=array("q", (0, 0)), **options,
        )  # fmt: skip
