"""The query of ``/v3/ws``: what a client asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["Streaming", "parse_streaming"]

ENCODINGS: Final = {"pcm_s16le": (16, None), "pcm_mulaw": (8, "mulaw")}
COMPRESSED: Final = ("opus", "ogg_opus", "aac")

#: Parameters that the server must not ignore: without them the client gets something that it asked not to get.
REFUSED: Final = {
    "webhook_url": "the server calls nobody that a client names",
    "redact_pii": "this server removes nothing from transcripts",
}

#: Options of models under AssemblyAI's name for them, and parameters that are never options.
ALIASES: Final = {"language": "language_code", "keyterms": "keyterms_prompt", "hotwords": "keyterms_prompt"}
OWN: Final = frozenset(
    {"speech_model", "model", "encoding", "sample_rate", "token", "webhook_url", "redact_pii"}
    | {"min_turn_silence", "max_turn_silence", "min_end_of_turn_silence_when_confident"}
)

#: The models that announce speech before its first words; the others have no such event.
SPEECH_MODELS: Final = ("u3", "universal-3")


class Streaming(Struct, frozen=True):
    """What a client asks for, besides the start of its session."""

    start: Start
    speech_started: bool


def parse_streaming(query: bytes, *, min_silence_ms: int, options_schema: Mapping[str, Any] | None = None) -> Streaming:
    """Raises InvalidStart naming the parameter, what was expected, and what came.

    `min_silence_ms`: a shorter silence that ends a turn counts as this. `options_schema`: of the model's options;
    parameters of their names are options. Unknown parameters are ignored.
    """
    values = Parameters(query)
    for name, why in REFUSED.items():
        if values.asks_for(name):
            raise InvalidStart(f"{name} is not supported: {why}")
    silence_ms = _silence_ms(values, min_silence_ms)
    start = Start(
        _format(values),
        interim_results=True,
        vad=None if silence_ms is None else VadOptions(silence_duration_ms=silence_ms),
        notices=True,
        options=values.options(options_schema, ALIASES, OWN),
    )
    return Streaming(start, (values.text("speech_model") or "").startswith(SPEECH_MODELS))


def _format(values: Parameters) -> AudioFormat:
    encoding = values.text("encoding") or "pcm_s16le"
    if encoding in COMPRESSED:
        raise InvalidStart(f"encoding {encoding} is not supported; expected " + " or ".join(ENCODINGS))
    if encoding not in ENCODINGS:
        raise InvalidStart(f"encoding: expected one of {', '.join(ENCODINGS)}, got {shown(encoding)}")
    rate = values.number("sample_rate")
    if rate is None:
        raise InvalidStart("sample_rate: expected a number of Hz, got nothing")
    bits, companding = ENCODINGS[encoding]
    return AudioFormat(1, rate, bits, False, companding)


def _silence_ms(values: Parameters, min_silence_ms: int) -> int | None:
    """The silence that ends a turn. AssemblyAI waits between the shortest (when it is confident) and the longest; here
    it is one, the shortest that was asked for.
    """
    names = ("min_turn_silence", "min_end_of_turn_silence_when_confident", "max_turn_silence")
    asked_ms = [silence_ms for name in names if (silence_ms := values.number(name)) is not None]
    if not asked_ms:
        return None
    return min(max(asked_ms[0], min_silence_ms), int(VAD_RANGES["silence_duration_ms"].highest))
