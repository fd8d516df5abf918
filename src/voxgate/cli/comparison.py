"""Detected utterances compared with the true ones of a bundled recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from voxgate.protocol.events import Active, Event, Inactive
from voxgate.recordings import Utterance

__all__ = ["TOLERANCE_S", "Comparison", "Detected", "collect_detected", "compare"]

TOLERANCE_S = 0.1
"""The default of the largest accepted difference between a detected time and the true one."""


@dataclass
class Detected:
    """One utterance as the server reported it, from its active to its inactive event, in seconds."""

    channel: int
    start_s: float
    end_s: float

    def difference_s(self, spoken: Utterance) -> float:
        """The larger of the differences at the start and at the end."""
        return max(abs(self.start_s - spoken.start_s), abs(self.end_s - spoken.end_s))

    def overlap_s(self, spoken: Utterance) -> float:
        """Negative when there is a gap between the two."""
        return min(self.end_s, spoken.end_s) - max(self.start_s, spoken.start_s)


@dataclass
class Comparison:
    """`pairs` are sorted by time; `missed` and `extra` are the spoken and detected utterances without a partner."""

    tolerance_s: float = TOLERANCE_S
    pairs: list[tuple[Detected, Utterance]] = field(default_factory=list)
    missed: list[tuple[int, Utterance]] = field(default_factory=list)
    """Each with its channel."""
    extra: list[Detected] = field(default_factory=list)

    @property
    def largest_difference_s(self) -> float:
        return max((detected.difference_s(spoken) for detected, spoken in self.pairs), default=0.0)

    @property
    def agrees(self) -> bool:
        return not self.missed and not self.extra and self.largest_difference_s <= self.tolerance_s


def compare(
    detected: Sequence[Detected], truth: Sequence[Sequence[Utterance]], tolerance_s: float = TOLERANCE_S
) -> Comparison:
    """Pairs each spoken utterance with the detected one of the same channel that overlaps it most.

    `truth`: the utterances of each channel, sorted by time.
    """
    result = Comparison(tolerance_s)
    remaining = list(detected)
    for channel, utterances in enumerate(truth):
        for spoken in utterances:
            candidates = [one for one in remaining if one.channel == channel and one.overlap_s(spoken) > 0]
            if not candidates:
                result.missed.append((channel, spoken))
                continue
            best = max(candidates, key=lambda one: one.overlap_s(spoken))
            remaining.remove(best)
            result.pairs.append((best, spoken))
    result.extra = remaining
    result.pairs.sort(key=lambda pair: (pair[1].start_s, pair[0].channel))
    return result


def collect_detected(events: Sequence[Event]) -> list[Detected]:
    """The utterances of a session, in the order in which they ended."""
    start_s: dict[int, float] = {}  # of the utterance that is active, by channel
    detected = []
    for event in events:
        if isinstance(event, Active):
            start_s[event.channel] = event.time
        elif isinstance(event, Inactive) and event.channel in start_s:
            detected.append(Detected(event.channel, start_s.pop(event.channel), event.time))
    return detected
