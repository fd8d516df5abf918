"""When a turn detector is asked, and what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from voxgate.errors import InvalidStart
from voxgate.protocol.requests import TurnOptions
from voxgate.protocol.turn_ranges import TURN_RANGES

__all__ = ["TurnConfig"]


@dataclass(frozen=True, slots=True)
class TurnConfig:
    """The rules by which the answers of a turn detector end segments; their ranges are
    ``voxgate.protocol.turn_ranges.TURN_RANGES``. Immutable; any thread.
    """

    detector: str = ""
    """Its name; empty: there is none."""
    enabled: bool = True
    min_silence_ms: float = 192
    """Silence after which the detector is asked."""
    threshold: float = 0.5
    """With this probability or a higher one the turn is over."""
    unfinished_threshold: float = 0.3
    """With a lower probability the detector is sure that more will come."""
    eager_threshold: float = 0.0
    """An eager result needs this probability or a higher one."""
    max_silence_ms: float = 1500
    """Silence that ends a segment when more is sure to come."""

    @property
    def is_on(self) -> bool:
        """Whether the detector is asked."""
        return bool(self.detector) and self.enabled

    def is_ever_asked(self, silence_duration_ms: float, suffix_padding_ms: float) -> bool:
        """Whether the detector is on, and is asked before silence ends the segment."""
        return self.is_on and max(self.min_silence_ms, suffix_padding_ms) < silence_duration_ms

    def check(self) -> None:
        """Raise ValueError naming the field, its range and its value, unless every field is in its range.

        The highest unfinished_threshold is the threshold.
        """
        for name, allowed in TURN_RANGES.items():
            if name == "unfinished_threshold":
                allowed = allowed._replace(highest=self.threshold)
            allowed.check(name, getattr(self, name))

    def merged(self, options: TurnOptions | None) -> TurnConfig:
        """A checked copy with a client's options. A threshold that comes alone, and is below the present
        unfinished_threshold, also lowers that. Raises InvalidStart naming the field, its range and its value, and when
        a client without a detector wants one.
        """
        if options is None:
            return self
        if not self.detector and options.enabled is not False:
            raise InvalidStart("turn: the server has no turn detector, expected no turn or turn.enabled = false")
        given: dict[str, Any] = {
            name: value for name in options.__struct_fields__ if (value := getattr(options, name)) is not None
        }
        if "threshold" in given and "unfinished_threshold" not in given:
            given["unfinished_threshold"] = min(self.unfinished_threshold, max(0, given["threshold"]))
        changed = replace(self, **given)
        try:
            changed.check()
        except ValueError as error:
            raise InvalidStart(f"turn.{error}") from None
        return changed
