"""Results in Riva's messages."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("google.protobuf")

from google.protobuf.json_format import MessageToDict
from msgspec import UNSET

from voxgate.endpoints.riva.config import Recognition
from voxgate.endpoints.riva.results import empty_result, recording_results, streaming_result
from voxgate.errors import InternalError
from voxgate.proto.riva import RecognizeResponse, StreamingRecognizeResponse
from voxgate.protocol.events import Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

WORDS = [
    {"word": "good", "start": 0.1, "end": 0.4, "confidence": 0.5, "speaker": 2},
    {"word": "day", "start": 0.5, "end": 0.75},
]


def recognition(*, word_times: bool = False, speakers: bool = False) -> Recognition:
    return Recognition(Start(AudioFormat(1, 16_000, 16, False)), word_times, speakers, True)


def streamed(asked: Recognition, is_final: Any, **fields: Any) -> dict[str, Any]:
    output = {"text": "good day", "words": WORDS}
    segment = Segment(2.0, 3.0, is_final, output, channel=1, segment_id=0, **fields)
    response = StreamingRecognizeResponse.FromString(streaming_result(segment, asked, "an-id"))
    assert response.id.value == "an-id"
    (result,) = MessageToDict(response, preserving_proto_field_name=True)["results"]
    return result


def test_a_final():
    assert streamed(recognition(), True) == {
        "alternatives": [{"transcript": "good day ", "confidence": 0.5}],
        "is_final": True,
        "channel_tag": 2,
        "audio_processed": 3.0,
    }


def test_words():
    (alternative,) = streamed(recognition(word_times=True), True)["alternatives"]
    assert alternative["words"] == [
        {"word": "good", "start_time": 2100, "end_time": 2400, "confidence": 0.5},
        {"word": "day", "start_time": 2500, "end_time": 2750, "confidence": 1.0},
    ]
    (alternative,) = streamed(recognition(word_times=True, speakers=True), True)["alternatives"]
    assert [word.get("speaker_tag", 0) for word in alternative["words"]] == [2, 0]


@pytest.mark.parametrize(("stable", "stability"), [(UNSET, None), ("", None), ("good", 0.5), ("good day", 1.0)])
def test_an_interim(stable, stability):
    result = streamed(recognition(), False, stable_text=stable)
    assert result.get("stability") == stability
    assert "is_final" not in result
    assert result["alternatives"][0]["transcript"] == "good day"


def test_a_result_that_failed():
    response = StreamingRecognizeResponse.FromString(empty_result(0, 1.5, "an-id"))
    assert MessageToDict(response, preserving_proto_field_name=True)["results"] == [
        {"alternatives": [{}], "is_final": True, "channel_tag": 1, "audio_processed": 1.5}
    ]


def test_a_recording():
    segments = [
        Segment(2.0, 3.0, True, {"text": "two"}, 0, 1),
        Segment(0.0, 1.0, True, {"text": "one"}, 0, 0),
        Segment(0.0, 0.5, True, {"text": "other"}, 1, 0),
    ]
    response = RecognizeResponse.FromString(recording_results(segments, recognition(), "an-id"))
    found = [(result.channel_tag, result.alternatives[0].transcript) for result in response.results]
    assert found == [(1, "one "), (2, "other "), (1, "two ")]
    assert [result.audio_processed for result in response.results] == [1.0, 0.5, 3.0]


@pytest.mark.parametrize(
    "output", [{"text": "not \ud800 this"}, {"words": [{"word": "a", "start": 0, "end": 1, "speaker": 10**12}]}]
)
def test_a_result_that_cannot_be_encoded(output):
    segment = Segment(0.0, 1.0, True, output, 0, 0)
    with pytest.raises(InternalError):
        streaming_result(segment, recognition(word_times=True, speakers=True), "an-id")
