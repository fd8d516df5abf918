"""The rules of endpointing, and the session around them, as one would write them on a blackboard. Slow, and plain to
see through.

Nothing is incremental here: the endpointer replays a list of everything that happened (frames with their probabilities,
flushes), and the session keeps every sample it ever got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

START, END, CUT, INTERIM = "start", "end", "cut", "interim"
SPECULATE, RESUMED, QUESTION = "speculate", "resumed", "question"


@dataclass(frozen=True)
class Rules:
    """All in samples but the thresholds; the same names as EndpointConfig."""

    frame_samples: int
    threshold: float = 0.5
    negative_threshold: float = 0.35
    prefix_samples: int = 9600
    suffix_samples: int = 0
    silence_samples: int = 9600
    min_speech_samples: int = 1440
    max_segment_samples: int = 480_000
    interim_samples: int = 0
    speculate_samples: int = 0
    turn_samples: int = 0
    turn_max_samples: int = 0
    turn_window_samples: int = 128_000


@dataclass(frozen=True)
class Frame:
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Flush:
    received: int


@dataclass(frozen=True)
class Clear:
    received: int


@dataclass(frozen=True)
class Answer:
    """To the question of the frame before it; without one, nothing."""

    verdict: int


Happening = Frame | Flush | Clear | Answer
Event = tuple[str, int, int]


def endpoint_events(rules: Rules, happenings: Iterable[Happening]) -> list[list[Event]]:
    """For each happening, in order, the events it causes."""
    speaking = False
    floor = 0  # end of the last segment
    candidate: int | None = None
    start = 0
    run: int | None = None  # where the silence run starts
    speculated = asked = patient = False  # in this silence run
    heard = 0  # end of the last frame
    interim_since = 0
    result: list[list[Event]] = []

    for happening in happenings:
        events: list[Event] = []
        result.append(events)
        if isinstance(happening, Clear):
            speaking, candidate, run, floor = False, None, None, happening.received
            speculated = asked = patient = False
            continue
        if isinstance(happening, Answer):
            asked_now = bool(result[:-1]) and any(kind == QUESTION for kind, _, _ in result[-2])
            if asked_now and happening.verdict > 0:
                assert run is not None
                end = min(run + rules.suffix_samples, heard, start + rules.max_segment_samples)
                events.append((END, start, end))
                speaking, run, floor = False, None, end
                speculated = asked = patient = False
            elif asked_now:
                patient = happening.verdict < 0
            continue
        flushing = isinstance(happening, Flush)
        if isinstance(happening, Flush):
            now = happening.received
        else:
            now = heard = happening.end
            probability = np.float32(happening.probability)
            is_speech = probability >= np.float32(rules.threshold)
            is_silence = probability < np.float32(rules.negative_threshold)
            if speaking:
                if is_speech:
                    if speculated or asked:
                        events.append((RESUMED, start, happening.start))
                    run = None
                    speculated = asked = patient = False
                if is_silence and run is None:
                    run = happening.start
            else:
                if is_silence:
                    candidate = None
                if is_speech and candidate is None:
                    candidate = max(happening.start, floor)
                if candidate is not None and now - candidate >= rules.min_speech_samples:
                    speaking, run = True, None
                    start = max(candidate - rules.prefix_samples, floor)
                    interim_since = candidate
                    candidate = None
                    events.append((START, start, now))
        if not speaking:
            continue

        longest = rules.max_segment_samples
        if run is None:
            # A flush closes a segment of exactly the longest length without a cut; a frame cannot know that nothing
            # follows.
            while now - start > longest or (now - start == longest and not flushing):
                events.append((CUT, start, start + longest))
                start += longest
                interim_since = start
            if flushing:
                events.append((END, start, now))
                speaking, floor = False, now
            elif rules.interim_samples and now - interim_since >= rules.interim_samples:
                events.append((INTERIM, start, now))
                interim_since = now
        elif flushing or now - run >= silence_of(rules, patient) or now - start >= longest:
            end = min(run + rules.suffix_samples, now, start + longest)
            events.append((END, start, end))
            speaking, run, floor = False, None, end
            speculated = asked = patient = False
        else:
            silence = now - run
            if (
                rules.speculate_samples
                and not speculated
                and silence >= max(rules.speculate_samples, rules.suffix_samples)
            ):
                events.append((SPECULATE, start, run + rules.suffix_samples))
                speculated = True
            is_due = rules.turn_samples and not asked and silence >= max(rules.turn_samples, rules.suffix_samples)
            if is_due and run > start:
                events.append((QUESTION, max(start, now - rules.turn_window_samples), now))
                asked = True
    return result


def silence_of(rules: Rules, patient: bool) -> int:
    return max(rules.silence_samples, rules.turn_max_samples) if patient else rules.silence_samples


SessionEvent = tuple[str, int, int, int, npt.NDArray[np.float32] | None]


class Session:
    """`probability(channel, frame)` must have no memory. An event is (kind, channel, start, end, audio or None)."""

    def __init__(
        self,
        channels: int,
        rules: Rules,
        probability: Callable[[int, npt.NDArray[np.float32]], float],
        verdict: Callable[[int, int], int] = lambda _channel, _end: 0,
    ) -> None:
        """`verdict`: the answer to a question of a channel at the end of a frame."""
        self._verdict = verdict
        self._rules = rules
        self._probability = probability
        self._audio = np.zeros((channels, 0), dtype=np.float32)
        self._between: list[tuple[int, Flush | Clear]] = []  # (whole frames before it, what)
        self._n_told = 0

    def feed(self, planes: npt.NDArray[np.float32]) -> list[SessionEvent]:
        self._audio = np.concatenate([self._audio, planes], axis=1)
        return self._news(last_frame_too=False)

    def flush(self) -> list[SessionEvent]:
        n = self._audio.shape[1]
        self._between.append((n // self._rules.frame_samples, Flush(n)))
        return self._news(last_frame_too=False)

    def clear(self) -> list[SessionEvent]:
        n = self._audio.shape[1]
        self._between.append((n // self._rules.frame_samples, Clear(n)))
        return self._news(last_frame_too=False)

    def finish(self) -> list[SessionEvent]:
        n = self._audio.shape[1]
        self._between.append((-(-n // self._rules.frame_samples), Flush(n)))
        return self._news(last_frame_too=True)

    def _happenings(self, channel: int, last_frame_too: bool) -> Sequence[Happening]:
        size, samples = self._rules.frame_samples, self._audio[channel]
        n_frames = -(-len(samples) // size) if last_frame_too else len(samples) // size
        happenings: list[Happening] = []
        for index in range(n_frames + 1):
            happenings += [what for frames_before, what in self._between if frames_before == index]
            if index < n_frames:
                frame = np.zeros(size, dtype=np.float32)
                piece = samples[index * size : (index + 1) * size]
                frame[: len(piece)] = piece
                begin = index * size
                happenings.append(Frame(begin, begin + len(piece), self._probability(channel, frame)))
                if len(piece) == size:
                    happenings.append(Answer(self._verdict(channel, begin + size)))
        return happenings

    def _news(self, last_frame_too: bool) -> list[SessionEvent]:
        """Replays everything, and leaves out what was told before: nothing that happened later changes what was
        told."""
        told: list[SessionEvent] = []
        per_channel = [
            endpoint_events(self._rules, self._happenings(channel, last_frame_too))
            for channel in range(len(self._audio))
        ]
        for of_all_channels in zip(*per_channel, strict=True):
            for channel, events in enumerate(of_all_channels):
                for kind, start, end in events:
                    has_audio = kind in (END, CUT, SPECULATE, QUESTION) and end > start
                    told.append(
                        (kind, channel, start, end, self._audio[channel, start:end].copy() if has_audio else None)
                    )
        news = told[self._n_told :]
        self._n_told = len(told)
        return news
