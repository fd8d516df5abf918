"""What the finals of a stream say about its turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from turn_material import Script

EARLY_S = 0.25
"""The last sound of a word may be too soft for the detector: a segment that ends this much before the end of the last
word still holds it.
"""
FRAME_S = 0.032
"""Of the detector: it counts silence in frames."""


@dataclass(frozen=True)
class Final:
    """The bounds of its segment, and when it arrived, in seconds of the stream."""

    start_s: float
    end_s: float
    arrived_s: float


@dataclass
class Score:
    """Sums over streams."""

    latencies_s: list[float] = field(default_factory=list)
    """From the end of the last word of a turn to its final."""
    beyond_s: list[float] = field(default_factory=list)
    """From the end of the silence that ends a segment without a turn detector to its final."""
    finals_s: list[float] = field(default_factory=list)
    """From the end of a segment's speech to its final, for every final."""
    n_turns: int = 0
    n_cut_turns: int = 0
    """Turns with at least one segment that ends before they do."""
    n_pauses: int = 0
    n_cuts: int = 0
    """Segments that end inside a turn."""
    n_together: int = 0
    """Turns whose segment goes on into the next turn."""
    n_lost: int = 0
    """Turns without a final."""

    def add(
        self, script: Script, finals: Sequence[Final], silence_ms: int, from_s: float = 0.0, until_s: float = math.inf
    ) -> None:
        """Scores one stream. silence_ms: `vad.silence_duration_ms`. Times count of what ends between `from_s` and
        `until_s`, seconds of the stream; cuts count always.
        """
        window_s = silence_window_s(silence_ms)
        ordered = sorted(finals, key=lambda final: final.end_s)
        self.finals_s += [final.arrived_s - final.end_s for final in ordered if from_s <= final.end_s < until_s]
        for index, turn in enumerate(script.turns):
            self.n_turns += 1
            self.n_pauses += len(turn.pauses)
            cuts = [final for final in ordered if turn.start_s < final.end_s < turn.end_s - EARLY_S]
            self.n_cuts += len(cuts)
            self.n_cut_turns += bool(cuts)
            last = next((final for final in ordered if final.end_s >= turn.end_s - EARLY_S), None)
            following = script.turns[index + 1] if index + 1 < len(script.turns) else None
            if last is None or last.start_s >= turn.end_s:
                self.n_lost += 1
            elif following is not None and last.end_s > following.start_s:
                self.n_together += 1
            elif from_s <= turn.end_s < until_s:
                self.latencies_s.append(last.arrived_s - turn.end_s)
                self.beyond_s.append(last.arrived_s - last.end_s - window_s)


def interval(some: int, of_all: int) -> tuple[float, float]:
    """Wilson's interval, 95 %, for a share that was found to be `some` of `of_all`, which are independent."""
    if not of_all:
        return 0.0, 1.0
    z = 1.96
    middle = (some + z * z / 2) / (of_all + z * z)
    half = z / (of_all + z * z) * math.sqrt(some * (of_all - some) / of_all + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def silence_window_s(silence_ms: int) -> float:
    """The shortest silence that ends a segment: whole frames."""
    n_frames = -(-silence_ms // round(1000 * FRAME_S))
    return n_frames * FRAME_S
