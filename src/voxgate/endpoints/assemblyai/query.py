"""The query of ``/v3/ws``, and the `UpdateConfiguration` messages that change what it asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidMessage, InvalidStart, shown
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
#: The first that the client gives is the silence that ends a turn.
SILENCES: Final = ("min_turn_silence", "min_end_of_turn_silence_when_confident", "max_turn_silence")

#: The models that announce speech before its first words; the others have no such event.
SPEECH_MODELS: Final = ("u3", "universal-3")


class Streaming(Struct, frozen=True):
    """What a client asks for, besides the start of its session."""

    start: Start
    speech_started: bool
    min_silence_ms: int
    """A shorter silence that ends a turn counts as this."""
    silences_ms: dict[str, int] = {}
    """Those that the client gave, of `SILENCES`."""
    option_names: frozenset[str] = frozenset()
    """Of the options that the model declares."""

    def configured(self, message: Mapping[str, Any]) -> Streaming:
        """With what an `UpdateConfiguration` changes: silences, and options of the model. Other fields are ignored, as
        those of the query are. Raises InvalidMessage; values of the options are checked later.
        """
        for name, why in REFUSED.items():
            if message.get(name):
                raise InvalidMessage(f"{name} is not supported: {why}")
        given = {name: value for name, value in message.items() if value is not None}
        for name in SILENCES:
            if name in given and (type(given[name]) is not int or given[name] < 0):
                raise InvalidMessage(f"{name}: expected a number of ms, got {shown(given[name])}")
        silences_ms = dict(self.silences_ms)
        silences_ms.update((name, given[name]) for name in SILENCES if name in given)
        options = dict(self.start.options or {})
        for name in self.option_names - OWN:
            alias = ALIASES.get(name, name)
            if name in given or alias in given:
                options[name] = given[name] if name in given else given[alias]
        start = replace(self.start, vad=_vad(silences_ms, self.min_silence_ms), options=options or None)
        return replace(self, start=start, silences_ms=silences_ms)


def parse_streaming(query: bytes, *, min_silence_ms: int, options_schema: Mapping[str, Any] | None = None) -> Streaming:
    """Raises InvalidStart naming the parameter, what was expected, and what came.

    `min_silence_ms`: a shorter silence that ends a turn counts as this. `options_schema`: of the model's options;
    parameters of their names are options. Unknown parameters are ignored.
    """
    values = Parameters(query)
    for name, why in REFUSED.items():
        if values.asks_for(name):
            raise InvalidStart(f"{name} is not supported: {why}")
    silences_ms = {name: silence_ms for name in SILENCES if (silence_ms := values.number(name)) is not None}
    start = Start(
        _format(values),
        interim_results=True,
        vad=_vad(silences_ms, min_silence_ms),
        notices=True,
        options=values.options(options_schema, ALIASES, OWN),
    )
    names = frozenset(() if options_schema is None else options_schema.get("properties", ()))
    speech_started = (values.text("speech_model") or "").startswith(SPEECH_MODELS)
    return Streaming(start, speech_started, min_silence_ms, silences_ms, names)


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


def _vad(silences_ms: Mapping[str, int], min_silence_ms: int) -> VadOptions | None:
    """AssemblyAI waits between the shortest silence (when it is confident) and the longest; here it is one."""
    asked_ms = [silences_ms[name] for name in SILENCES if name in silences_ms]
    if not asked_ms:
        return None
    longest_ms = int(VAD_RANGES["silence_duration_ms"].highest)
    return VadOptions(silence_duration_ms=min(max(asked_ms[0], min_silence_ms), longest_ms))
