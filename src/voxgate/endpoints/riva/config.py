"""A client's configuration: what it asks for, as a start of a session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, structs

from voxgate.endpoints.parameters import model_options
from voxgate.endpoints.wire import check_start, min_silence_ms
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.formats import AUTO, AudioFormat, ContainerFormat, Format
from voxgate.protocol.requests import Start, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES
from voxgate.session.context import SessionContext

__all__ = ["HEAD_BYTES", "Recognition", "parse_config", "request_id_of"]

UNSPECIFIED: Final = 0
#: The number of an encoding of raw samples: their bits, and the encoding of the format.
PCM: Final[dict[int, tuple[int, str | None]]] = {1: (16, None), 3: (8, "mulaw"), 20: (8, "alaw")}
#: The number of an encoding that is a container.
CONTAINERS: Final = {UNSPECIFIED: AUTO, 2: "flac", 4: "ogg"}
NAMES: Final = "ENCODING_UNSPECIFIED, LINEAR_PCM, FLAC, MULAW, OGGOPUS, ALAW"

#: Options of models under Riva's name for them.
ALIASES: Final = {
    "punctuate": "enable_automatic_punctuation",
    **dict.fromkeys(("keyterms", "keywords", "hotwords"), "speech_contexts"),
}

HEAD_BYTES: Final = 12
"""`Recognition.start_of` needs no more."""


MAX_ID_CHARS: Final = 256
"""Every response repeats the id."""


class Recognition(Struct, frozen=True):
    """What a client asks for."""

    start: Start
    word_times: bool
    """Results list their words."""
    speakers: bool
    """Words say who speaks, if the model knows."""
    mixes: bool
    """The channels of a container are mixed to one."""

    def start_of(self, head: bytes, is_all: bool) -> Start | None:
        """The start, for audio that begins with `head`. None: more bytes are needed, which HEAD_BYTES never are, nor
        all of the audio. Riva's clients send WAV files from their first byte on, and call them LINEAR_PCM.

        Raises InvalidStart for raw samples without a rate.
        """
        form = self.start.format
        if not isinstance(form, AudioFormat):
            return self.start
        if head[:4] == b"RIFF" and head[8:HEAD_BYTES] == b"WAVE":
            return structs.replace(self.start, format=ContainerFormat("wav", self.mixes))
        if b"RIFF".startswith(head[:4]) and len(head) < HEAD_BYTES and not is_all:
            return None
        if form.sample_rate == 0:
            raise InvalidStart("config.sample_rate_hertz: expected the rate of the samples in Hz, got 0")
        return self.start


def parse_config(config: Any, context: SessionContext, *, interim_results: bool = False) -> Recognition:
    """`config`: a RecognitionConfig. Raises InvalidStart naming the field, what was expected, and what came.

    `model` and `max_alternatives` are ignored: the server has one model, which gives one.
    """
    names = context.session_options.names
    if config.profanity_filter and "profanity_filter" not in names:
        raise InvalidStart("config.profanity_filter is not supported: this model removes nothing from transcripts")
    silence_ms = _silence_ms(config, min_silence_ms(context.config))
    mixes = not config.enable_separate_recognition_per_channel
    start = Start(
        _format(config, mixes),
        interim_results=interim_results,
        stability=interim_results,
        vad=None if silence_ms is None else VadOptions(silence_duration_ms=silence_ms),
        notices=True,  # then errors say in which segment's place they stand
        options=_options(config, context),
    )
    form = start.format
    if not isinstance(form, AudioFormat) or form.sample_rate != 0:
        check_start(start, context)
    return Recognition(
        start, config.enable_word_time_offsets, config.diarization_config.enable_speaker_diarization, mixes
    )


def request_id_of(message: Any, default: str) -> str:
    """The id that a client gives its request, or `default`. Raises InvalidStart for a long one."""
    found: str = message.id.value
    if len(found) > MAX_ID_CHARS:
        raise InvalidStart(f"id.value: expected at most {MAX_ID_CHARS} characters, got {len(found)}")
    return found or default


def _format(config: Any, mixes: bool) -> Format:
    encoding, n_channels = config.encoding, config.audio_channel_count or 1
    if encoding in CONTAINERS:
        return ContainerFormat(CONTAINERS[encoding], mixes)
    if encoding not in PCM:
        raise InvalidStart(f"config.encoding: expected one of {NAMES}, got {shown(encoding)}")
    for name in ("sample_rate_hertz", "audio_channel_count"):
        if getattr(config, name) < 0:
            raise InvalidStart(f"config.{name}: expected a positive number, got {getattr(config, name)}")
    if n_channels > 1 and mixes:
        raise InvalidStart(
            f"config.audio_channel_count {n_channels} needs enable_separate_recognition_per_channel: the server does "
            "not mix raw channels, each has its own results"
        )
    bits, companding = PCM[encoding]
    return AudioFormat(n_channels, config.sample_rate_hertz, bits, False, companding)


def _silence_ms(config: Any, shortest_ms: int) -> int | None:
    """The silence that ends a segment; None: the server's. Riva's other parameters have no counterpart."""
    asked_ms: int = config.endpointing_config.stop_history
    if asked_ms <= 0:
        return None
    return min(max(asked_ms, shortest_ms), int(VAD_RANGES["silence_duration_ms"].highest))


def _options(config: Any, context: SessionContext) -> dict[str, Any] | None:
    """Those that the model takes: of `custom_configuration`, under their own names; and Riva's own fields."""
    phrases = [phrase for context in config.speech_contexts for phrase in context.phrases]
    values: dict[str, Sequence[str]] = {name: [value] for name, value in config.custom_configuration.items()}
    values["speech_contexts"] = phrases
    for name in ("enable_automatic_punctuation", "verbatim_transcripts", "profanity_filter"):
        if getattr(config, name):
            values[name] = ["true"]
    options = model_options(lambda name: values.get(name, ()), context.session_options.schema, ALIASES)
    if config.language_code and "language" in context.session_options.names:
        options = {"language": _language(config.language_code, context), **(options or {})}
    return options


def _language(code: str, context: SessionContext) -> str:
    """`code` as the model takes it: many know "en", and not "en-US", which Riva's clients send unasked."""
    try:
        context.session_options.parse({"language": code})
    except InvalidStart:
        return code.partition("-")[0].lower()
    return code
