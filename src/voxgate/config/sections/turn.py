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
            description="Decides in a pause whether the speaker has finished: `text` by the punctuation of the result,"
            " `smart-turn:PATH` by the ONNX file of a Smart Turn v3 model, or a class of your own. Empty: silence"
            " alone ends segments.",
            extra={"choices": _DETECTORS, "or_attribute": True},
        ),
    ] = ""
    min_silence_ms: Annotated[
        int,
        TURN_RANGES["min_silence_ms"].meta(
            "After this much silence, in ms, the detector is asked. Silence is counted in frames of 32 ms: 200 would be"
            " 224. Never before `vad.suffix_padding_ms`; not at all"
            " if that or this reaches `vad.silence_duration_ms`.",
        ),
    ] = 192
    threshold: Annotated[
        float, TURN_RANGES["threshold"].meta("The segment ends at once when the turn is over with this probability.")
    ] = 0.5
    unfinished_threshold: Annotated[
        float,
        TURN_RANGES["unfinished_threshold"].meta(
            "Below this probability the detector is sure that more will come: the segment ends after `max_silence_ms`;"
            " at most `threshold`, and lowered to it when only that is set.",
        ),
    ] = 0.3
    eager_threshold: Annotated[
        float,
        TURN_RANGES["eager_threshold"].meta("Eager results are sent when the turn is over with this probability."),
    ] = 0.0
    max_silence_ms: Annotated[
        int,
        TURN_RANGES["max_silence_ms"].meta(
            "Silence that ends a segment when the detector is sure that more will come, in ms; at least"
            " `vad.silence_duration_ms`, a lower value counts as that.",
        ),
    ] = 1500
    deadline_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="The longest wait for the detector's answer, in ms of the clock; then silence decides.",
        ),
    ] = 400
    max_batch_size: Annotated[
        int, Meta(ge=1, le=1024, description="Questions, of any streams, that the detector gets in one call.")
    ] = 16
    max_questions: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="Questions of all streams that may wait for the detector; for further ones silence decides.",
        ),
    ] = 256

    def tunables(self) -> dict[str, Any]:
        """The keyword arguments of vad.turns.TurnConfig, by name."""
        return {name: getattr(self, name) for name in TURN_RANGES}
