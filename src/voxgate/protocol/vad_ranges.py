"""The ranges of the voice-activity options: those of the server's settings, and those of a client's ``start``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Meta

from voxgate.errors import shown

__all__ = ["VAD_RANGES", "VadRange"]


class VadRange(NamedTuple):
    """A range with both ends included."""

    lowest: float
    highest: float
    unit: str
    """Milliseconds ("ms"), seconds ("s") or none ("")."""

    def meta(self, description: str) -> Meta:
        """Of a setting with this range."""
        return Meta(ge=self.lowest, le=self.highest, description=description)

    def check(self, name: str, value: object) -> None:
        """Raises ValueError with the name, the range and the value, unless it is a number of the range."""
        lowest, highest, unit = self
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise ValueError(f"{name} must be {lowest}..{highest}{unit and f' {unit}'}, got {shown(value)}")


#: Option -> its range. The highest ``negative_threshold`` is also limited by the ``threshold`` beside it.
VAD_RANGES: Final[Mapping[str, VadRange]] = {
    "threshold": VadRange(0.01, 0.99, ""),
    "negative_threshold": VadRange(0, 0.99, ""),
    "prefix_padding_ms": VadRange(0, 5000, "ms"),
    "suffix_padding_ms": VadRange(0, 2000, "ms"),
    "silence_duration_ms": VadRange(50, 10_000, "ms"),
    "min_speech_ms": VadRange(0, 2000, "ms"),
    "max_segment_s": VadRange(1, 300, "s"),
    "interim_interval_ms": VadRange(50, 60_000, "ms"),
}
