"""The fields of a transcription request."""

from __future__ import annotations

import pytest

from voxgate.endpoints.openai.errors import ApiError
from voxgate.endpoints.openai.options import TranscriptionOptions


def test_defaults_and_ignored_fields():
    fields = {"model": ["x"], "temperature": ["0"], "include": ["logprobs"], "chunking_strategy": ["auto"]}
    assert TranscriptionOptions.of(fields) == TranscriptionOptions()


def test_all_fields():
    fields = {
        "response_format": ["verbose_json"],
        "stream": ["True"],
        "language": ["de"],
        "timestamp_granularities": ["word", "segment"],
    }
    assert TranscriptionOptions.of(fields) == TranscriptionOptions(
        "verbose_json", True, "de", frozenset({"word", "segment"})
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("response_format", "mp3", 'response_format must be one of json, text, srt, vtt, verbose_json, got "mp3"'),
        ("stream", "maybe", 'stream must be one of true, false, got "maybe"'),
        ("timestamp_granularities", "letter", 'timestamp_granularities must be one of segment, word, got "letter"'),
    ],
)
def test_values_that_are_not_supported(name, value, message):
    with pytest.raises(ApiError) as caught:
        TranscriptionOptions.of({name: [value]})
    assert (str(caught.value), caught.value.param, caught.value.status) == (message, name, 400)
