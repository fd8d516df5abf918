"""What a client asks for, as frozen typed structs, on no wire in particular."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from voxgate.protocol.formats import AudioFormat, Format

__all__ = ["Clear", "Flush", "KeepAlive", "Request", "Segmentation", "Start", "Stop", "TurnOptions", "VadOptions"]

Segmentation: TypeAlias = Literal["auto", "manual"]
"""Where the segmented route ends a segment: where speech ends ("auto"), or where the client says so ("manual")."""


class VadOptions(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a client may tune in the voice-activity detection of its own session. None = the server's setting.

    Types are checked when parsed, ranges when merged with the server's settings (see vad.VadConfig.merged).
    """

    threshold: float | None = None
    negative_threshold: float | None = None
    prefix_padding_ms: int | None = None
    suffix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    min_speech_ms: int | None = None
    max_segment_s: float | None = None


class TurnOptions(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a client may tune in the turn detection of its own session. None = the server's setting.

    Types are checked when parsed, ranges when merged with the server's settings (see vad.turns.TurnConfig.merged).
    A client that sends it also gets the detector's probability with its results, `Segment.turn_probability`.
    """

    enabled: bool | None = None
    min_silence_ms: int | None = None
    threshold: float | None = None
    unfinished_threshold: float | None = None
    eager_threshold: float | None = None
    max_silence_ms: int | None = None


class Start(Struct, frozen=True, tag_field="request", tag="start"):
    """Opens a session. ``trace_id`` is a W3C traceparent. ``options`` are those of the model. Neither ``token`` nor the
    values of ``options`` ever show in the repr.
    """

    format: Format
    interim_results: bool = False
    trace_id: str | None = None
    vad: VadOptions | None = None
    notices: bool = False
    token: str | None = None
    probabilities: bool = False
    segmentation: Segmentation = "auto"
    stability: bool = False
    eager: bool = False
    options: dict[str, Any] | None = None
    turn: TurnOptions | None = None

    @property
    def pcm(self) -> AudioFormat:
        """`format`, in a session whose audio is PCM or has been decoded."""
        if not isinstance(self.format, AudioFormat):
            raise AssertionError("the container is not decoded")
        return self.format

    def __repr__(self) -> str:
        return (
            f"Start(format={self.format!r}, interim_results={self.interim_results!r}, trace_id={self.trace_id!r}, "
            f"vad={self.vad!r}, notices={self.notices!r}, token={None if self.token is None else '***'}, "
            f"probabilities={self.probabilities!r}, segmentation={self.segmentation!r}, stability={self.stability!r}, "
            f"eager={self.eager!r}, options={None if self.options is None else list(self.options)!r}, "
            f"turn={self.turn!r})"
        )


class Stop(Struct, frozen=True, gc=False, tag_field="request", tag="stop"):
    """Ends the session: all results are sent, then the server closes with 1000 if ``disconnect``, else waits."""

    disconnect: bool = False


class Flush(Struct, frozen=True, gc=False, tag_field="request", tag="flush"):
    """Closes the open segment now and keeps the session."""


class Clear(Struct, frozen=True, gc=False, tag_field="request", tag="clear"):
    """Drops the audio of the open segment, and keeps the session. The segment gets no final."""


class KeepAlive(Struct, frozen=True, gc=False, tag_field="request", tag="keep_alive"):
    """Resets the idle timer."""


#: What a client sends.
Request: TypeAlias = Start | Stop | Flush | Clear | KeepAlive
