"""The session object of OpenAI's Realtime API: what a client may set, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from voxgate.config import VadSettings
from voxgate.endpoints.openai.realtime_requests import InvalidRequest
from voxgate.errors import shown
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, TurnOptions, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["RealtimeSession"]

PCM_RATE: Final = 24_000
G711_RATE: Final = 8000
_G711: Final = {"audio/pcmu": "mulaw", "audio/pcma": "alaw"}
#: The names of the beta.
_BETA_FORMATS: Final = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_BETA_NAMES: Final = {name: beta for beta, name in _BETA_FORMATS.items()}
_DETECTION: Final = ("threshold", "prefix_padding_ms", "silence_duration_ms")
#: With a turn detector, the silence that ends a turn when it is sure that more will come, in ms.
_LONGEST_MS: Final = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}
#: How much silence ends a turn for `semantic_vad`, in ms: its eagerness is a wish about waiting.
_EAGERNESS_MS: Final = {"low": 1500, "medium": 800, "auto": 800, "high": 400}


class RealtimeSession(Struct, frozen=True):
    """The settings of one client. Immutable: `updated` returns another."""

    format: str = "audio/pcm"
    rate: int = PCM_RATE
    """Hz."""
    transcription: dict[str, Any] | None = None
    """As the client sent it: model, language, prompt."""
    detection: dict[str, Any] | None = msgspec.field(default_factory=lambda: {"type": "server_vad"})
    """The turn detection as the client sent it; None: the client commits."""
    noise_reduction: Any = None
    include: Any = None
    is_beta: bool = False
    """The client uses the names of the beta."""
    defaults: dict[str, Any] = {}
    """The server's values of the turn detection, which are shown where the client sends none."""

    @classmethod
    def of(cls, vad: VadSettings) -> RealtimeSession:
        """The settings of a client that has sent none."""
        return cls(defaults={name: getattr(vad, name) for name in _DETECTION})

    def updated(self, session: Mapping[str, Any], is_beta: bool) -> RealtimeSession:
        """With the fields that a `session.update` (or `transcription_session.update`) names. Raises InvalidRequest for
        a value that cannot be served.
        """
        kind = session.get("type", "transcription")
        if kind != "transcription":
            raise InvalidRequest(
                f'session.type: expected "transcription", the only kind that is served, got {shown(kind)}',
                "session.type",
            )
        changes: dict[str, Any] = {"is_beta": is_beta}
        if is_beta:
            # Clients of the beta name some fields as the GA does.
            fields = {
                "format": session.get("input_audio_format"),
                "transcription": session.get("input_audio_transcription"),
                "turn_detection": session.get("turn_detection", msgspec.UNSET),
                "noise_reduction": session.get("input_audio_noise_reduction"),
            }
            path = "session"
        else:
            audio = _mapping(session.get("audio") or {}, "session.audio")
            fields = _mapping(audio.get("input") or {}, "session.audio.input")
            path = "session.audio.input"
        if (form := fields.get("format")) is not None:
            changes["format"], changes["rate"] = _format(form, path)
        if (transcription := fields.get("transcription")) is not None:
            changes["transcription"] = _mapping(transcription, f"{path}.transcription")
        if (detection := fields.get("turn_detection", msgspec.UNSET)) is not msgspec.UNSET:
            changes["detection"] = _detection(detection, f"{path}.turn_detection")
        if (reduction := fields.get("noise_reduction")) is not None:
            changes["noise_reduction"] = reduction
        if (include := session.get("include")) is not None:
            changes["include"] = include
        return msgspec.structs.replace(self, **changes)

    def start(
        self, min_silence_ms: int, options: dict[str, Any] | None = None, has_turn_detector: bool = False
    ) -> Start:
        """The start of a session with these settings. `min_silence_ms`: a shorter silence counts as this. `options`:
        of the model. `has_turn_detector`: then `semantic_vad` uses it, and `server_vad` does not.
        """
        form = (
            AudioFormat(1, self.rate, 16, False)
            if self.format not in _G711
            else AudioFormat(1, self.rate, 8, False, _G711[self.format])
        )
        return Start(
            form,
            interim_results=True,
            vad=None if self.detection is None else _vad(self.detection, min_silence_ms),
            notices=True,
            segmentation="manual" if self.detection is None else "auto",
            stability=True,
            options=options,
            turn=_turn(self.detection) if has_turn_detector and self.detection is not None else None,
        )

    def shown(self, session_id: str) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`, or of the beta's."""
        fields: dict[str, Any] = {"id": session_id, "object": "realtime.transcription_session", "expires_at": 0}
        if self.is_beta:
            return {
                **fields,
                "input_audio_format": _BETA_NAMES[self.format],
                "input_audio_transcription": self.transcription,
                "turn_detection": self._shown_detection(),
                "input_audio_noise_reduction": self.noise_reduction,
                "include": self.include,
            }
        form: dict[str, Any] = {"type": self.format}
        if self.format == "audio/pcm":
            form["rate"] = self.rate
        audio_input = {
            "format": form,
            "transcription": self.transcription,
            "turn_detection": self._shown_detection(),
            "noise_reduction": self.noise_reduction,
        }
        return {"type": "transcription", **fields, "audio": {"input": audio_input}, "include": self.include}

    def _shown_detection(self) -> dict[str, Any] | None:
        if self.detection is None or self.detection["type"] != "server_vad":
            return self.detection
        return {**self.defaults, **self.detection}


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path}: expected an object, got {shown(value)}", path)
    return value


def _format(value: Any, path: str) -> tuple[str, int]:
    """Name and rate, from either way of writing it."""
    if isinstance(value, str):
        name, rate = _BETA_FORMATS.get(value, value), None
        path = f"{path}.input_audio_format"
    else:
        fields = _mapping(value, f"{path}.format")
        name, rate = fields.get("type", "audio/pcm"), fields.get("rate")
        path = f"{path}.format.type"
    if isinstance(name, str) and name in _G711:
        return name, G711_RATE
    if name != "audio/pcm":
        allowed = ", ".join(("audio/pcm", *_G711)) + f" ({', '.join(_BETA_FORMATS)} in the beta)"
        raise InvalidRequest(f"{path}: expected one of {allowed}, got {shown(name)}", path)
    if rate is not None and type(rate) is not int:
        raise InvalidRequest(f"{path}: expected a rate in Hz, got {shown(rate)}", path)
    return name, rate or PCM_RATE


def _detection(value: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    fields = _mapping(value, path)
    kind = fields.get("type", "server_vad")
    if kind not in ("server_vad", "semantic_vad"):
        raise InvalidRequest(f"{path}.type: expected server_vad, semantic_vad or null, got {shown(kind)}", path)
    eagerness = fields.get("eagerness")
    if eagerness is not None and (not isinstance(eagerness, str) or eagerness not in _EAGERNESS_MS):
        expected = ", ".join(_EAGERNESS_MS)
        raise InvalidRequest(f"{path}.eagerness: expected one of {expected}, got {shown(eagerness)}", path)
    for name in _DETECTION:
        number = fields.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise InvalidRequest(f"{path}.{name}: expected a number, got {shown(number)}", f"{path}.{name}")
    return {**fields, "type": kind}


def _turn(detection: Mapping[str, Any]) -> TurnOptions:
    if detection["type"] != "semantic_vad":
        return TurnOptions(enabled=False)
    return TurnOptions(max_silence_ms=_LONGEST_MS[detection.get("eagerness") or "auto"])


def _vad(detection: Mapping[str, Any], min_silence_ms: int) -> VadOptions | None:
    """Values out of range count as the nearest that is in it: their clients cannot know our ranges."""
    if detection["type"] == "semantic_vad":
        silence_ms: float = _EAGERNESS_MS[detection.get("eagerness") or "auto"]
        return VadOptions(silence_duration_ms=round(max(silence_ms, min_silence_ms)))
    options: dict[str, Any] = {}
    for name in _DETECTION:
        number = detection.get(name)
        if number is None:
            continue
        lowest, highest = VAD_RANGES[name].lowest, VAD_RANGES[name].highest
        if name == "silence_duration_ms":
            lowest = max(lowest, min_silence_ms)
        clamped = min(max(number, lowest), highest)
        options[name] = float(clamped) if name == "threshold" else round(clamped)
    return VadOptions(**options) if options else None
