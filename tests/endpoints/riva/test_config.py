"""What Riva's clients ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Struct

pytest.importorskip("google.protobuf")

from voxgate import Model
from voxgate.config import Config
from voxgate.endpoints.riva.config import HEAD_BYTES, parse_config
from voxgate.errors import InvalidStart
from voxgate.models.session_options import SessionOptions
from voxgate.proto.riva import RecognizeRequest
from voxgate.protocol.formats import AudioFormat, ContainerFormat

RAW = {"encoding": "LINEAR_PCM", "sample_rate_hertz": 16_000}
WAV = b"RIFF\x24\0\0\0WAVEfmt "


class Declared(Struct):
    language: str = "en"
    hotwords: list[str] = []
    beam_size: int = 5
    verbatim_transcripts: bool = False

    def __post_init__(self) -> None:
        if self.language not in ("en", "de", "pt-BR"):
            raise ValueError(f"language: en, de or pt-BR, not {self.language}")


class Plain(Model):
    def infer(self, audio: Any, request: Any) -> Any:
        return {"text": ""}


class Choosy(Plain):
    Options = Declared


def service_of(model: Model, **settings: Any) -> Any:
    return SimpleNamespace(session_options=SessionOptions(model), config=Config(**settings))


def parse(config: dict[str, Any], model: Model | None = None, *, interim_results: bool = False) -> Any:
    request = RecognizeRequest(config=config)
    return parse_config(request.config, service_of(model or Plain()), interim_results=interim_results)


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("LINEAR_PCM", AudioFormat(1, 8000, 16, False)),
        ("MULAW", AudioFormat(1, 8000, 8, False, "mulaw")),
        ("ALAW", AudioFormat(1, 8000, 8, False, "alaw")),
        ("FLAC", ContainerFormat("flac", True)),
        ("OGGOPUS", ContainerFormat("ogg", True)),
        ("ENCODING_UNSPECIFIED", ContainerFormat("auto", True)),
    ],
)
def test_encodings(encoding, form):
    assert parse({"encoding": encoding, "sample_rate_hertz": 8000}).start_of(b"\0" * 12, False).format == form


def test_channels_have_results_of_their_own_or_are_refused():
    two = {**RAW, "audio_channel_count": 2}
    with pytest.raises(InvalidStart, match=r"^config\.audio_channel_count 2 needs enable_separate"):
        parse(two)
    recognition = parse({**two, "enable_separate_recognition_per_channel": True})
    assert recognition.start.format == AudioFormat(2, 16_000, 16, False)
    assert recognition.start_of(WAV, False).format == ContainerFormat("wav", False)


@pytest.mark.parametrize("encoding", ["LINEAR_PCM", "MULAW"])
@pytest.mark.parametrize("n_bytes", range(HEAD_BYTES + 1))
def test_a_wav_file_in_place_of_raw_samples(encoding, n_bytes):
    """Whatever part of it comes first."""
    recognition = parse({"encoding": encoding})
    if n_bytes < HEAD_BYTES:
        assert recognition.start_of(WAV[:n_bytes], False) is None
    else:
        assert recognition.start_of(WAV[:n_bytes], False).format == ContainerFormat("wav", True)


@pytest.mark.parametrize("head", [b"\0", b"RI\0", b"RIFF\0\0\0\0WAVY"])
def test_samples_that_are_no_wav_file(head):
    assert parse(RAW).start_of(head, False).format == AudioFormat(1, 16_000, 16, False)
    with pytest.raises(
        InvalidStart, match=r"^config\.sample_rate_hertz: expected the rate of the samples in Hz, got 0"
    ):
        parse({"encoding": "LINEAR_PCM"}).start_of(head, False)


@pytest.mark.parametrize("head", [b"", b"RIFF"])
def test_audio_that_ends_within_what_might_be_a_head(head):
    assert parse(RAW).start_of(head, False) is None
    assert parse(RAW).start_of(head, True).format == AudioFormat(1, 16_000, 16, False)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({**RAW, "encoding": 7}, "config.encoding: expected one of ENCODING_UNSPECIFIED, LINEAR_PCM, FLAC"),
        ({**RAW, "sample_rate_hertz": -1}, "config.sample_rate_hertz: expected a positive number, got -1"),
        ({**RAW, "audio_channel_count": -1}, "config.audio_channel_count: expected a positive number, got -1"),
        ({**RAW, "sample_rate_hertz": 1}, "format.sample_rate must be 4000..192000 Hz, got 1"),
        ({**RAW, "profanity_filter": True}, "config.profanity_filter is not supported"),
        ({**RAW, "custom_configuration": {"beam_size": "wide"}}, "options.beam_size"),
    ],
)
def test_refused(config, text):
    with pytest.raises(InvalidStart) as refused:
        parse(config, Choosy())
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(
    ("asked_ms", "silence_ms"), [(0, None), (-5, None), (25, 600), (700, 700), (2_000_000, 10_000)]
)
def test_the_silence_that_ends_a_segment(asked_ms, silence_ms):
    vad = parse({**RAW, "endpointing_config": {"stop_history": asked_ms}}).start.vad
    assert (None if vad is None else vad.silence_duration_ms) == silence_ms


def test_options_that_the_model_takes():
    config = {
        **RAW,
        "language_code": "de-AT",
        "speech_contexts": [{"phrases": ["Voxgate", "gRPC"], "boost": 3.0}, {"phrases": ["Riva"]}],
        "custom_configuration": {"beam_size": "3", "unknown": "x"},
        "verbatim_transcripts": True,
    }
    assert parse(config).start.options is None
    assert parse(config, Choosy()).start.options == {
        "language": "de",
        "hotwords": ["Voxgate", "gRPC", "Riva"],
        "beam_size": 3,
        "verbatim_transcripts": True,
    }
    assert parse({**RAW, "language_code": "pt-BR"}, Choosy()).start.options == {"language": "pt-BR"}


def test_interim_results():
    start = parse(RAW, interim_results=True).start
    assert (start.interim_results, start.stability) == (True, True)
    start = parse(RAW).start
    assert (start.interim_results, start.stability) == (False, False)
