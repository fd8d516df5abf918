"""VadSession: feed of live chunks (20 ms) and of long ones (1 s), against the textbook session in Python around the
same detector.

The textbook twin of the tests keeps all samples and replays everything at each call: no opponent. The one here is what
somebody would write without a compiler: it has the same native detector, and carries on its state from frame to frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from voxgate import recordings
from voxgate._native.detector import Detector
from voxgate._native.session import VadSession
from voxgate.audio.files.read import read_audio
from voxgate.vad.config import VadConfig
from voxgate.vad.detectors import load_detector

Audio = npt.NDArray[np.float32]
RATE = 16_000


class PythonSession:
    """One channel: frames out of a buffer, the rules in Python, audio in a deque of chunks."""

    def __init__(self, detector: Detector, config: VadConfig) -> None:
        self.detector = detector
        self.rules = config.to_endpoint(detector.frame_samples, detector.sample_rate)
        self.limits = (self.rules.threshold, self.rules.negative_threshold)
        self.times = (
            self.rules.prefix_samples,
            self.rules.suffix_samples,
            self.rules.silence_samples,
            self.rules.min_speech_samples,
            self.rules.max_segment_samples,
        )
        self.buffer = np.zeros((1, 0), np.float32)
        self.kept: deque[tuple[int, Audio]] = deque()
        self.heard = self.floor = self.start = 0
        self.candidate: int | None = None
        self.run: int | None = None
        self.speaking = False

    def audio(self, start: int, end: int) -> Audio:
        parts = [c[max(0, start - at) : end - at] for at, c in self.kept if at < end and at + len(c) > start]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def feed(self, planes: Audio) -> list[Any]:
        size = self.rules.frame_samples
        threshold, negative = self.limits
        prefix, suffix, silence, min_speech, longest = self.times
        events: list[Any] = []
        buffer = np.concatenate([self.buffer, planes], axis=1)
        whole = buffer.shape[1] // size * size
        self.buffer = buffer[:, whole:]
        if not whole:
            return events
        probabilities = self.detector.probabilities(buffer[:, :whole])[0].tolist()
        for index, p in enumerate(probabilities):
            f0 = self.heard
            f1 = self.heard = f0 + size
            self.kept.append((f0, buffer[0, index * size : (index + 1) * size]))
            if not self.speaking:
                if p < negative:
                    self.candidate = None
                elif p >= threshold and self.candidate is None:
                    self.candidate = max(f0, self.floor)
                if self.candidate is not None and f1 - self.candidate >= min_speech:
                    self.speaking, self.run = True, None
                    self.start = max(self.candidate - prefix, self.floor)
                    self.candidate = None
                    events.append(("start", self.start, f1, None))
            elif p >= threshold:
                self.run = None
            elif p < negative and self.run is None:
                self.run = f0
            if self.speaking:
                if self.run is not None and (f1 - self.run >= silence or f1 - self.start >= longest):
                    end = min(self.run + suffix, f1, self.start + longest)
                    events.append(("end", self.start, end, self.audio(self.start, end)))
                    self.speaking, self.floor = False, end
                elif self.run is None:
                    while f1 - self.start >= longest:
                        end = self.start + longest
                        events.append(("cut", self.start, end, self.audio(self.start, end)))
                        self.start = end
            keep = self.start if self.speaking else max((self.candidate or f1) - prefix, self.floor)
            while self.kept and self.kept[0][0] + size <= keep:
                self.kept.popleft()
        return events


def chunks(milliseconds: int) -> list[Audio]:
    audio = read_audio(recordings.path("demo"))[0]
    n = RATE * milliseconds // 1000
    return [np.ascontiguousarray(audio[:, at : at + n]) for at in range(0, audio.shape[1] - n + 1, n)]


def stream(make: Callable[[], Any], parts: list[Audio]) -> Callable[[], int]:
    """The whole recording in chunks: one round of the benchmark."""

    def run() -> int:
        session = make()
        return sum(len(session.feed(part)) for part in parts)

    return run


@pytest.mark.parametrize("detector", ["energy", "silero"])
@pytest.mark.parametrize("milliseconds", [20, 1000])
class TestStream:
    def test_voxgate_session(self, benchmark: Any, detector: str, milliseconds: int) -> None:
        benchmark.group = f"12.5 s of speech in chunks of {milliseconds} ms, {detector}"
        factory = load_detector(detector)
        rules = VadConfig().to_endpoint(factory.frame_samples, RATE)
        assert benchmark(stream(lambda: VadSession(factory.create(1), rules), chunks(milliseconds))) >= 7

    def test_python_session(self, benchmark: Any, detector: str, milliseconds: int) -> None:
        benchmark.group = f"12.5 s of speech in chunks of {milliseconds} ms, {detector}"
        factory = load_detector(detector)
        assert benchmark(stream(lambda: PythonSession(factory.create(1), VadConfig()), chunks(milliseconds))) >= 7


@pytest.mark.benchmark(group="a 20 ms chunk that completes no frame")
def test_voxgate_no_frame(benchmark: Any) -> None:
    # A detector with frames so long that none is ever complete: what remains is the call and the copy.
    from voxgate._native.detector import CallableDetector
    from voxgate._native.endpoint import EndpointConfig

    class Never:
        def probability(self, frame: Audio) -> float:
            return 0.0

    size = 1 << 24
    session = VadSession(CallableDetector(Never, 1, size, RATE), EndpointConfig(size))
    chunk = np.zeros((1, 320), np.float32)

    def reset() -> None:
        session.reset()
        session.feed(chunk)

    benchmark.pedantic(session.feed, args=(chunk,), setup=reset, rounds=2000)
