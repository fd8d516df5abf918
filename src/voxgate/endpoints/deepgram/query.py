"""The query of ``/v1/listen``: what a client asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.formats import AUTO, AudioFormat, ContainerFormat, Format
from voxgate.protocol.requests import Start, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["CONTAINERS", "REFUSED", "SCHEMES", "Listen", "audio_format_of", "parse_listen"]

SCHEMES: Final = ("token", "bearer")
"""Of the `Authorization` header, and of browsers' subprotocols."""

#: The value of `encoding`: bits of a sample, whether it is a float, and the encoding of the format.
ENCODINGS: Final = {
    "linear16": (16, False, None),
    "linear32": (32, True, None),
    "mulaw": (8, False, "mulaw"),
    "alaw": (8, False, "alaw"),
}
#: Encodings that are containers: the bytes say what they are.
CONTAINERS: Final = ("flac", "ogg-opus")
COMPRESSED: Final = ("amr-nb", "amr-wb", "opus", "speex", "g729")

#: Parameters that the server must not ignore: without them the client gets something that it asked not to get.
REFUSED: Final = {
    "callback": "the server fetches nothing and calls nobody that a client names",
    "redact": "this server removes nothing from transcripts",
}
#: Options of models under Deepgram's name for them, and parameters that are never options.
ALIASES: Final = {"keyterms": "keyterm", "hotwords": "keyterm"}
OWN: Final = frozenset(
    {"model", "version", "encoding", "sample_rate", "channels", "multichannel", "interim_results", "endpointing"}
    | {"utterance_end_ms", "vad_events", "callback", "callback_method", "redact", "tag", "extra", "utterances"}
)
UTTERANCE_END_MS: Final = (1000, 60_000)


class Listen(Struct, frozen=True):
    """What a client asks for, besides the start of its session."""

    start: Start
    ends_speech: bool
    """Results say `speech_final` (`endpointing` is not `false`)."""
    speech_started: bool
    """`vad_events`."""
    utterance_end_s: float | None
    """`utterance_end_ms`, in seconds; None: no such events."""
    utterances: bool = False
    """Of a recording: the result lists its utterances too."""


def parse_listen(query: bytes, *, min_silence_ms: int, options_schema: Mapping[str, Any] | None = None) -> Listen:
    """The query of the live API. Raises InvalidStart naming the parameter, what was expected, and what came.

    `min_silence_ms`: a shorter `endpointing` counts as this. `options_schema`: of the model's options; parameters of
    their names are options. Unknown parameters are ignored, as Deepgram does.
    """
    values = Parameters(query)
    for name, why in REFUSED.items():
        if values.asks_for(name):
            raise InvalidStart(f"{name} is not supported: {why}")
    silence_ms, ends_speech = _endpointing(values, min_silence_ms)
    start = Start(
        _format(values),
        interim_results=values.flag("interim_results"),
        vad=None if silence_ms is None else VadOptions(silence_duration_ms=silence_ms),
        notices=True,
        options=values.options(options_schema, ALIASES, OWN),
    )
    utterance_end_ms = values.number("utterance_end_ms")
    if utterance_end_ms is not None:
        utterance_end_ms = min(max(utterance_end_ms, UTTERANCE_END_MS[0]), UTTERANCE_END_MS[1])
    return Listen(
        start,
        ends_speech,
        values.flag("vad_events"),
        None if utterance_end_ms is None else utterance_end_ms / 1000,
        values.flag("utterances"),
    )


def _format(values: Parameters) -> Format:
    encoding = values.text("encoding")
    if encoding is None or encoding in CONTAINERS:
        return ContainerFormat(AUTO)
    channels = values.number("channels")
    if channels is not None and channels > 1 and not values.flag("multichannel"):
        raise InvalidStart(
            f"channels={channels} needs multichannel=true: the server does not mix channels, each has its own results"
        )
    return audio_format_of(values, encoding, 1 if channels is None else channels)


def audio_format_of(values: Parameters, encoding: str, n_channels: int) -> AudioFormat:
    """The format of raw audio. Raises InvalidStart."""
    if encoding in COMPRESSED:
        raise InvalidStart(f"encoding {encoding} is not supported as raw packets; expected " + ", ".join(ENCODINGS))
    if encoding not in ENCODINGS:
        raise InvalidStart(f"encoding: expected one of {', '.join(ENCODINGS)}, got {shown(encoding)}")
    rate = values.number("sample_rate")
    if rate is None:
        raise InvalidStart("sample_rate: expected a number of Hz with encoding, got nothing")
    bits, is_float, companding = ENCODINGS[encoding]
    return AudioFormat(n_channels, rate, bits, is_float, companding)


def _endpointing(values: Parameters, min_silence_ms: int) -> tuple[int | None, bool]:
    """The silence that ends a segment (None: the server's), and whether results report the end of speech."""
    text = (values.text("endpointing") or "true").lower()
    if text == "false":
        return None, False
    if text == "true":
        return None, True
    silence_ms = values.number("endpointing")
    assert silence_ms is not None
    return min(max(silence_ms, min_silence_ms), int(VAD_RANGES["silence_duration_ms"].highest)), True
