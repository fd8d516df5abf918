"""The settings of voice-activity detection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from voxgate._native.endpoint import EndpointConfig
from voxgate.errors import InvalidStart
from voxgate.protocol.requests import VadOptions

__all__ = ["VadConfig"]

# Lowest, highest and unit of every setting. The highest negative_threshold is the threshold.
_RANGES: Final[Mapping[str, tuple[float, float, str]]] = {
    "threshold": (0.01, 0.99, ""),
    "negative_threshold": (0, 0.99, ""),
    "prefix_padding_ms": (0, 5000, " ms"),
    "suffix_padding_ms": (0, 2000, " ms"),
    "silence_duration_ms": (50, 10_000, " ms"),
    "min_speech_ms": (0, 2000, " ms"),
    "max_segment_s": (1, 300, " s"),
    "interim_interval_ms": (50, 60_000, " ms"),
}


@dataclass(frozen=True, slots=True)
class VadConfig:
    """When speech begins and ends. The rules stand in ``voxgate._native.endpoint``, the ranges in the table of
    :meth:`check`.

    ``threshold``: a frame at or above it is speech. ``negative_threshold``: a frame below it is silence; in between
    nothing changes. ``prefix_padding_ms``, ``suffix_padding_ms``: audio added before the first and after the last
    speech frame. ``silence_duration_ms``: silence that ends a segment. ``min_speech_ms``: shorter speech opens none.
    ``max_segment_s``: a segment this long is cut, and goes on. ``interim_interval_ms``: audio between two interims.
    """

    threshold: float = 0.5
    negative_threshold: float = 0.35
    prefix_padding_ms: float = 600
    suffix_padding_ms: float = 0
    silence_duration_ms: float = 600
    min_speech_ms: float = 90
    max_segment_s: float = 30.0
    interim_interval_ms: float = 500

    def check(self) -> None:
        """Raise ValueError naming the field, its value and the range, unless all are in range (ends included).

        threshold 0.01..0.99, negative_threshold 0..threshold, prefix_padding_ms 0..5000, suffix_padding_ms 0..2000,
        silence_duration_ms 50..10000, min_speech_ms 0..2000, max_segment_s 1..300, interim_interval_ms 50..60000.
        """
        for name, (lowest, highest, unit) in _RANGES.items():
            value = getattr(self, name)
            if name == "negative_threshold":
                highest = self.threshold
            if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
                raise ValueError(f"{name} must be {lowest}..{highest}{unit}, got {_show(value)}")

    def changed(self, **changes: Any) -> VadConfig:
        """A checked copy with these fields; None leaves a field as it is. ValueError as :meth:`check`, TypeError for an
        unknown field.

        Where only the threshold is given, and is below the negative threshold so far, the latter is lowered to it.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        changed = replace(self, **given)
        if "threshold" in given and "negative_threshold" not in given and changed.threshold < self.negative_threshold:
            changed = replace(changed, negative_threshold=changed.threshold)
        changed.check()
        return changed

    def merged(self, options: VadOptions | None) -> VadConfig:
        """These settings with a client's options over them. InvalidStart naming field, value and range. See
        :meth:`changed`.
        """
        if options is None:
            return self
        try:
            return self.changed(**{name: getattr(options, name) for name in options.__struct_fields__})
        except ValueError as exc:
            raise InvalidStart(f"vad.{exc}") from None

    def to_endpoint(self, frame_samples: int, sample_rate: int, interims: bool = False) -> EndpointConfig:
        """The same in samples, for frames of ``frame_samples`` at ``sample_rate`` Hz, each time rounded to the nearest
        sample.

        Without ``interims`` the endpointer makes none. ValueError as :meth:`check`.
        """
        self.check()

        def samples(milliseconds: float) -> int:
            return math.floor(milliseconds * sample_rate / 1000 + 0.5)

        return EndpointConfig(
            frame_samples,
            threshold=self.threshold,
            negative_threshold=self.negative_threshold,
            prefix_samples=samples(self.prefix_padding_ms),
            suffix_samples=samples(self.suffix_padding_ms),
            silence_samples=samples(self.silence_duration_ms),
            min_speech_samples=samples(self.min_speech_ms),
            max_segment_samples=samples(self.max_segment_s * 1000),
            interim_samples=max(1, samples(self.interim_interval_ms)) if interims else 0,
        )


def _show(value: object) -> str:
    """For an error: a number as it is, unless it is absurdly long."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)[:80]


assert set(_RANGES) == {field.name for field in fields(VadConfig)}
