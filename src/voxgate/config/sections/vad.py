"""The settings of the section ``vad``."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["VadSettings"]

_DETECTORS: Final = ("silero", "energy")
_DETECTOR_PATTERN: Final = rf"\A({'|'.join(_DETECTORS)}|[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*)\Z"


class VadSettings(Struct, frozen=True, kw_only=True):
    """Voice-activity detection on the segmented route. A client may override `threshold` to `max_segment_s`."""

    detector: Annotated[
        str,
        Meta(
            pattern=_DETECTOR_PATTERN,
            description="Computes the probability of speech, frame by frame.",
            extra={"choices": _DETECTORS, "or_attribute": True},
        ),
    ] = "silero"
    weights: (
        Annotated[
            str,
            Meta(min_length=1, description="Path of the detector's weights; not set: the installed ones."),
        ]
        | None
    ) = None
    threshold: Annotated[float, VAD_RANGES["threshold"].meta("Speech begins at this probability.")] = 0.5
    negative_threshold: Annotated[
        float,
        VAD_RANGES["negative_threshold"].meta(
            "Silence begins below this probability; at most `threshold`, and lowered with it.",
        ),
    ] = 0.35
    prefix_padding_ms: Annotated[
        int, VAD_RANGES["prefix_padding_ms"].meta("Audio kept before the first speech frame, in ms.")
    ] = 600
    suffix_padding_ms: Annotated[
        int, VAD_RANGES["suffix_padding_ms"].meta("Audio kept after the last speech frame, in ms.")
    ] = 0
    silence_duration_ms: Annotated[
        int, VAD_RANGES["silence_duration_ms"].meta("Silence that ends a segment, in ms.")
    ] = 600
    min_speech_ms: Annotated[int, VAD_RANGES["min_speech_ms"].meta("Shortest speech that opens a segment, in ms.")] = 90
    max_segment_s: Annotated[
        float, VAD_RANGES["max_segment_s"].meta("Longest segment, in seconds; then it is cut and goes on.")
    ] = 30.0
    interim_interval_ms: Annotated[
        int, VAD_RANGES["interim_interval_ms"].meta("Audio between two interim results of a segment, in ms.")
    ] = 500

    speculate_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Silence after which the model is called for a final in advance, in ms; 0: never. Not "
            "before `suffix_padding_ms`, and not from `silence_duration_ms` on.",
        ),
    ] = 200
    speculate_max_wait_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="Wait of finals for the model above which no such call begins, in ms.",
        ),
    ] = 200
    stall_flush_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=600_000,
            description="Time without new audio after which an open segment gets its final, in ms of the clock; "
            "0: never.",
        ),
    ] = 2000

    def tunables(self) -> dict[str, Any]:
        """The keyword arguments of vad.VadConfig, by name: the settings of the detection itself."""
        return {name: getattr(self, name) for name in VAD_RANGES}
