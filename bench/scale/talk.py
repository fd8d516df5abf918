"""Who speaks when: spurts of speech and the pauses between them, in seconds, played in turn by every stream.

Each stream begins at a place of its own in the same long row, so that a run needs no dice while it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SPURT_S, PAUSE_S = 1.004, 1.587
"""Mean talk spurt and mean pause of one side of a telephone conversation, both exponential: ITU-T P.59 (1993), from
measured conversations in several languages. A side speaks 38.5 % of the time.
"""


@dataclass(frozen=True)
class Talk:
    on_s: Any
    off_s: Any

    @property
    def share(self) -> float:
        """Of the time in which somebody speaks."""
        return float(np.sum(self.on_s) / (np.sum(self.on_s) + np.sum(self.off_s)))

    def mean_cycle_s(self, silence_s: float) -> float:
        """From the end of one utterance to that of the next, when `silence_s` ends an utterance."""
        n = max(1, int(np.count_nonzero(np.asarray(self.off_s) >= silence_s)))
        return float((np.sum(self.on_s) + np.sum(self.off_s)) / n)

    def utterances_s(self, silence_s: float) -> Any:
        """The lengths of the utterances, in their order."""
        lengths, length = [], 0.0
        for on_s, off_s in zip(np.asarray(self.on_s), np.asarray(self.off_s), strict=True):
            length += on_s
            if off_s >= silence_s:
                lengths.append(length)
                length = 0.0
            else:
                length += off_s
        return np.array(lengths)


def conversation(n: int = 65_536, share: float | None = None, seed: int = 1) -> Talk:
    """One side of telephone conversations. `share`: of the time in which it speaks, by longer or shorter pauses."""
    dice = np.random.default_rng(seed)
    pause_s = PAUSE_S if share is None else SPURT_S * (1 - share) / share
    return Talk(dice.exponential(SPURT_S, n), dice.exponential(pause_s, n))


def script(on_s: Sequence[float], off_s: Sequence[float]) -> Talk:
    """A recording that is played in a loop."""
    return Talk(np.array(on_s, dtype=float), np.array(off_s, dtype=float))
