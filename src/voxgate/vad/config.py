"""The settings of voice-activity detection."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from voxgate._native.endpoint import EndpointConfig
from voxgate.errors import InvalidStart
from voxgate.protocol.requests import VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES
from voxgate.vad.turns.config import TurnConfig

__all__ = ["VadConfig"]


@dataclass(frozen=True, slots=True)
class VadConfig:
    """The rules by which speech begins and ends. ``voxgate._native.endpoint`` applies them; their ranges are
    ``voxgate.protocol.vad_ranges.VAD_RANGES``. Immutable; any thread.
    """

    threshold: float = 0.5
    """A frame with this probability or a higher one is speech."""
    negative_threshold: float = 0.35
    """A frame with a lower probability is silence; between the two thresholds nothing changes."""
    prefix_padding_ms: float = 600
    """Audio added before the first speech frame."""
    suffix_padding_ms: float = 0
    """Audio added after the last speech frame."""
    silence_duration_ms: float = 600
    """Silence that ends a segment."""
    min_speech_ms: float = 90
    """Shorter speech opens no segment."""
    max_segment_s: float = 30.0
    """A segment of this length is cut, and continues as the next one."""
    interim_interval_ms: float = 500
    """Audio between two interims of a segment."""

    def check(self) -> None:
        """Raise ValueError naming the field, its range and its value, unless every field is in its range.

        The highest negative_threshold is the threshold.
        """
        for name, allowed in VAD_RANGES.items():
            if name == "negative_threshold":
                allowed = allowed._replace(highest=self.threshold)
            allowed.check(name, getattr(self, name))

    def changed(self, **changes: Any) -> VadConfig:
        """A checked copy with these fields changed; None leaves a field as it is.

        A threshold that comes without a negative threshold, and is below the present one, also lowers the negative
        threshold. Raises ValueError like :meth:`check`, and TypeError for an unknown field.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        changed = replace(self, **given)
        if "threshold" in given and "negative_threshold" not in given and changed.threshold < self.negative_threshold:
            changed = replace(changed, negative_threshold=changed.threshold)
        changed.check()
        return changed

    def merged(self, options: VadOptions | None) -> VadConfig:
        """A copy with a client's options, as :meth:`changed` makes it. Raises InvalidStart naming the field, its range
        and its value.
        """
        if options is None:
            return self
        try:
            return self.changed(**{name: getattr(options, name) for name in options.__struct_fields__})
        except ValueError as exc:
            raise InvalidStart(f"vad.{exc}") from None

    def to_endpoint(
        self,
        frame_samples: int,
        sample_rate: int,
        interims: bool = False,
        speculate_ms: float = 0,
        turn: TurnConfig | None = None,
        turn_window_s: float = 1,
    ) -> EndpointConfig:
        """The rules in samples, for frames of ``frame_samples`` samples at ``sample_rate`` Hz.

        Each duration is rounded to the nearest sample. Without ``interims`` the endpointer makes no interims,
        and with ``speculate_ms`` 0 it does not speculate. With ``turn`` it asks at pauses, with the last
        ``turn_window_s`` of audio, and speculates there at the latest. Raises ValueError like :meth:`check`.
        """
        self.check()

        def samples(milliseconds: float) -> int:
            return math.floor(milliseconds * sample_rate / 1000 + 0.5)

        turn_ms = turn.min_silence_ms if turn is not None and turn.is_on else 0
        if turn_ms and speculate_ms:
            speculate_ms = min(speculate_ms, turn_ms)
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
            speculate_samples=samples(speculate_ms),
            turn_samples=max(1, samples(turn_ms)) if turn_ms else 0,
            turn_max_samples=samples(turn.max_silence_ms) if turn is not None else 0,
            turn_window_samples=max(1, samples(turn_window_s * 1000)),
        )


assert set(VAD_RANGES) == {field.name for field in fields(VadConfig)}
