"""The figures that `voxgate models check` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Answer", "BatchGain", "Behaviour", "Gil", "Speed"]


@dataclass(frozen=True)
class Answer:
    """What the model answered to an utterance; None when it had no result."""

    text: str
    """The words of the utterance."""
    answer: Mapping[str, Any] | None


@dataclass(frozen=True)
class Speed:
    """The duration of calls: medians over `calls` of them, one at a time."""

    calls: int
    call_s: float
    audio_s: float
    real_time_factor: float


@dataclass(frozen=True)
class Gil:
    """How the model left the GIL to other Python threads while it ran."""

    share: float
    """The part of its work during which the GIL was free, 0..1."""
    longest_pause_s: float
    """The longest wait of another thread for the GIL during a round of calls; the median over the rounds."""
    is_certain: bool = True
    """False: the machine did not let the model or the measurement run enough."""

    @property
    def verdict(self) -> str:
        """``releases`` the GIL, ``shares`` it (it holds it part of the time), ``holds`` it (plain Python code, or a
        library that does not release it), or ``unknown``.
        """
        if not self.is_certain:
            return "unknown"
        if self.share < 0.35:
            return "holds"
        return "shares" if self.share < 0.7 else "releases"


@dataclass(frozen=True)
class BatchGain:
    """One call with `size` items is `gain` times as fast as one call per item."""

    size: int
    gain: float


@dataclass(frozen=True)
class Behaviour:
    """All figures. The names of the fields are those of the JSON output."""

    warm_up_s: float
    first_call_s: float
    said: Sequence[Answer]
    speed: Speed
    gil: Gil
    batches: Sequence[BatchGain] = ()
    """Empty for a model without batches."""
    two_at_once: float | None = None
    """Two concurrent calls are this many times as fast as two calls in turn; None: the model allows one at a time."""
    two_at_best: float | None = None
    """What this machine, with everything else it did, gained from two threads of ideal work at the same time."""
