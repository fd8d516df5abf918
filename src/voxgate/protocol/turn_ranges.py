"""The ranges of the options of turn detection: those of the server's settings, and those of a client's ``start``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from voxgate.protocol.vad_ranges import VadRange

__all__ = ["TURN_RANGES"]

#: Option -> its range. The highest ``unfinished_threshold`` is also limited by the ``threshold`` beside it.
TURN_RANGES: Final[Mapping[str, VadRange]] = {
    "min_silence_ms": VadRange(50, 5000, "ms"),
    "threshold": VadRange(0.01, 1, ""),
    "unfinished_threshold": VadRange(0, 1, ""),
    "eager_threshold": VadRange(0, 1, ""),
    "max_silence_ms": VadRange(50, 10_000, "ms"),
}
