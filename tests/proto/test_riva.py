"""The messages of Riva's API."""

from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf")

from voxgate.proto.riva import API, SERVICE, RecognizeRequest, StreamingRecognizeRequest

# What nvidia-riva-client 2.28 sends.
RECORDED = (
    "0a4b0a47080110807d1a05656e2d55532003320e0a07566f78676174652500008040380240016a016dc201060a0161120162ca01160801150000"
    "003f18bc05250000803e2802350000403f1001"
)


def test_a_configuration_of_their_own_client():
    config = StreamingRecognizeRequest.FromString(bytes.fromhex(RECORDED)).streaming_config
    assert config.interim_results
    assert {field.name: value for field, value in config.config.ListFields() if field.message_type is None} == {
        "encoding": 1,
        "sample_rate_hertz": 16_000,
        "language_code": "en-US",
        "max_alternatives": 3,
        "audio_channel_count": 2,
        "enable_word_time_offsets": True,
        "model": "m",
    }
    (context,) = config.config.speech_contexts
    assert (list(context.phrases), context.boost) == (["Voxgate"], 4.0)
    assert dict(config.config.custom_configuration) == {"a": "b"}
    assert {field.name: value for field, value in config.config.endpointing_config.ListFields()} == {
        "start_history": 1,
        "start_threshold": 0.5,
        "stop_history": 700,
        "stop_threshold": 0.25,
        "stop_history_eou": 2,
        "stop_threshold_eou": 0.75,
    }


def test_the_service():
    methods = {method.name: method for method in API.pool.FindServiceByName(SERVICE).methods}
    assert set(methods) == {"Recognize", "StreamingRecognize", "GetRivaSpeechRecognitionConfig"}
    streaming = methods["StreamingRecognize"]
    assert (streaming.client_streaming, streaming.server_streaming) == (True, True)
    assert methods["Recognize"].input_type is RecognizeRequest.DESCRIPTOR
