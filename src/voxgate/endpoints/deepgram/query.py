"""The query of ``/v1/listen``: what a client asks for."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["Listen", "parse_listen"]

#: The value of `encoding`: bits of a sample, whether it is a float, and the encoding of the format.
ENCODINGS: Final = {
    "linear16": (16, False, None),
    "linear32": (32, True, None),
    "mulaw": (8, False, "mulaw"),
    "alaw": (8, False, "alaw"),
}
COMPRESSED: Final = ("flac", "amr-nb", "amr-wb", "opus", "ogg-opus", "speex", "g729")

#: Parameters that the server must not ignore: without them the client gets something that it asked not to get.
REFUSED: Final = {
    "callback": "the server fetches nothing and calls nobody that a client names",
    "redact": "this server removes nothing from transcripts",
}
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


def parse_listen(query: bytes, *, min_silence_ms: int) -> Listen:
    """The query of the live API. Raises InvalidStart naming the parameter, what was expected, and what came.

    `min_silence_ms`: a shorter `endpointing` counts as this. Unknown parameters are ignored, as Deepgram does.
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
    )
    utterance_end_ms = values.number("utterance_end_ms")
    if utterance_end_ms is not None:
        utterance_end_ms = min(max(utterance_end_ms, UTTERANCE_END_MS[0]), UTTERANCE_END_MS[1])
    return Listen(
        start,
        ends_speech,
        values.flag("vad_events"),
        None if utterance_end_ms is None else utterance_end_ms / 1000,
    )


def _format(values: Parameters) -> AudioFormat:
    encoding = values.text("encoding")
    if encoding is None:
        raise InvalidStart(
            "encoding: expected one of " + ", ".join(ENCODINGS) + " with sample_rate: containers are not supported yet"
        )
    if encoding in COMPRESSED:
        raise InvalidStart(f"encoding {encoding} is not supported as raw packets; expected " + ", ".join(ENCODINGS))
    if encoding not in ENCODINGS:
        raise InvalidStart(f"encoding: expected one of {', '.join(ENCODINGS)}, got {shown(encoding)}")
    rate = values.number("sample_rate")
    if rate is None:
        raise InvalidStart("sample_rate: expected a number of Hz with encoding, got nothing")
    channels = values.number("channels")
    if channels is not None and channels > 1 and not values.flag("multichannel"):
        raise InvalidStart(
            f"channels={channels} needs multichannel=true: the server does not mix channels, each has its own results"
        )
    bits, is_float, companding = ENCODINGS[encoding]
    return AudioFormat(1 if channels is None else channels, rate, bits, is_float, companding)


def _endpointing(values: Parameters, min_silence_ms: int) -> tuple[int | None, bool]:
    """The silence that ends a segment (None: the server's), and whether the end of speech is told."""
    text = (values.text("endpointing") or "true").lower()
    if text == "false":
        return None, False
    if text == "true":
        return None, True
    silence_ms = values.number("endpointing")
    assert silence_ms is not None
    return min(max(silence_ms, min_silence_ms), int(VAD_RANGES["silence_duration_ms"].highest)), True
