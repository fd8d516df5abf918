"""The settings of the section ``turn``."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from voxgate.protocol.turn_ranges import TURN_RANGES

__all__ = ["TurnSettings"]

_DETECTORS: Final = ("text", "smart-turn:PATH")
_DETECTOR_PATTERN: Final = r"\A(|text|smart-turn:.+|[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*)\Z"


class TurnSettings(Struct, frozen=True, kw_only=True):
    """Detection of the end of a turn on the segmented route. A client may override `min_silence_ms` to
    `max_silence_ms`.
    """

    detector: Annotated[
        str,
        Meta(
            pattern=_DETECTOR_PATTERN,
            description="Decides in a pause whether the speaker has finished: `text` by the punctuation of the "
            "result, `smart-turn:PATH` by a Smart Turn v3 file, or your class. Empty: silence alone "
            "decides.",
            extra={"choices": _DETECTORS, "or_attribute": True},
        ),
    ] = ""
    min_silence_ms: Annotated[
        int,
        TURN_RANGES["min_silence_ms"].meta(
            "Silence after which the detector is asked, in ms, counted in frames of 32 ms. Not "
            "before `vad.suffix_padding_ms`, and not from `vad.silence_duration_ms` on.",
        ),
    ] = 192
    threshold: Annotated[
        float, TURN_RANGES["threshold"].meta("The segment ends at once at this probability that the turn is over.")
    ] = 0.5
    unfinished_threshold: Annotated[
        float,
        TURN_RANGES["unfinished_threshold"].meta(
            "Below this probability, the segment ends only after `max_silence_ms`; at most "
            "`threshold`, and lowered with it.",
        ),
    ] = 0.3
    eager_threshold: Annotated[
        float,
        TURN_RANGES["eager_threshold"].meta("Eager results need this probability that the turn is over."),
    ] = 0.0
    max_silence_ms: Annotated[
        int,
        TURN_RANGES["max_silence_ms"].meta(
            "Silence that ends a segment below `unfinished_threshold`, in ms; at least `vad.silence_duration_ms`.",
        ),
    ] = 1500
    deadline_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Longest wait for the detector's answer, in ms of the clock; then silence decides.",
        ),
    ] = 400
    max_batch_size: Annotated[
        int, Meta(ge=1, le=1024, description="Questions of all streams in one call of the detector.")
    ] = 16
    max_questions: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="Questions of all streams that may wait for the detector; beyond, silence decides.",
        ),
    ] = 256

    def tunables(self) -> dict[str, Any]:
        """The keyword arguments of vad.turns.TurnConfig, by name."""
        return {name: getattr(self, name) for name in TURN_RANGES}
