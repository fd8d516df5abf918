"""`StreamingRecognize`, on a real socket."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from helpers.riva import RAW, refused, streaming, text_of, transcripts
from helpers.uploads import wav
from helpers.wire import bursts, encode, pieces
from helpers.wires import TALK, TWO, failing_first
from voxgate.endpoints.riva.streaming import RivaStreaming
from voxgate.errors import InvalidMessage
from voxgate.proto.riva import StreamingRecognizeRequest

SEPARATE = {**RAW, "audio_channel_count": 2, "enable_separate_recognition_per_channel": True}


def finals(server, data):
    return [event for event in server.collect(data, format=_format(), chunk_size=6400) if event.type == "segment"]


def _format():
    from voxgate.client import AudioFormat

    return AudioFormat(1, 16_000, 16, False)


def test_the_results_are_those_of_the_native_wire(server, port):
    expected = finals(server, TALK)
    config = {**RAW, "enable_word_time_offsets": True}
    results = [response.results[0] for response in streaming(port, pieces(TALK, 3200), config)]
    assert [text_of(result) for result in results] == [event.output["text"] for event in expected]
    for result, event in zip(results, expected, strict=True):
        assert (result.is_final, result.channel_tag) == (True, 1)
        assert result.audio_processed == pytest.approx(event.end_time)
        starts = [word.start_time / 1000 for word in result.alternatives[0].words]
        assert starts == pytest.approx([event.start_time + 0.1, event.start_time + 0.2], abs=0.001)


def test_interims_come_when_they_are_asked_for(port):
    talk = list(pieces(TALK, 3200))
    results = [response.results[0] for response in streaming(port, talk, interim_results=True)]
    assert [result.is_final for result in results].count(True) == 2
    assert False in [result.is_final for result in results]
    assert all(result.is_final for response in streaming(port, talk) for result in response.results)


def test_two_channels(port):
    results = [response.results[0] for response in streaming(port, pieces(TWO, 6400), SEPARATE)]
    assert sorted(result.channel_tag for result in results) == [1, 2]


@pytest.mark.parametrize("encoding", ["LINEAR_PCM", "ENCODING_UNSPECIFIED"])
def test_a_wav_file_as_it_is(port, encoding):
    expected = transcripts(streaming(port, pieces(TALK, 3200)))
    assert transcripts(streaming(port, pieces(wav(TALK), 3200), {"encoding": encoding})) == expected


@pytest.mark.parametrize("audio", [[], [b""], [b"", b"R", b"IF"]])
def test_next_to_no_audio(port, audio):
    assert list(streaming(port, audio)) == []


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({**RAW, "audio_channel_count": 2}, "config.audio_channel_count 2 needs"),
        ({"encoding": "LINEAR_PCM"}, "config.sample_rate_hertz: expected the rate of the samples in Hz, got 0"),
        ({**RAW, "sample_rate_hertz": 12}, "format.sample_rate must be"),
    ],
)
def test_a_configuration_that_cannot_be_served(port, config, text):
    code, details, _ = refused(streaming(port, [TALK], config))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith(text)


def test_bytes_that_are_no_sound(port):
    code, details, responses = refused(streaming(port, [b"no sound file " * 400], {"encoding": "FLAC"}))
    assert (code, responses) == (grpc.StatusCode.INVALID_ARGUMENT, [])
    assert details


def test_one_utterance_that_fails(serve):
    """It is an empty final, the next one comes, and the status says what went wrong."""
    server = serve(
        failing_first(lambda audio: {"text": "good"}),
        **{"grpc.port": 0, "inference.warm_up": False, "vad.speculate_ms": 0},
    )
    code, details, responses = refused(streaming(server.server.grpc_port, pieces(TALK, 3200)))
    assert (code, details) == (grpc.StatusCode.INTERNAL, "not this one")
    assert transcripts(responses) == ["", "good"]
    assert responses[0].results[0].audio_processed > 1


def test_a_model_without_text(serve):
    server = serve(lambda audio: {"count": len(audio)}, **{"grpc.port": 0})
    code, details, _ = refused(streaming(server.server.grpc_port, [TALK]))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "answers without a text" in details


def test_tokens_and_the_switch(serve):
    server = serve(lambda audio: {"text": "yes"}, **{"grpc.port": 0, "auth.tokens": "good"})
    port = server.server.grpc_port
    assert transcripts(streaming(port, [TALK], metadata=[("authorization", "Bearer good")])) == ["yes", "yes"]
    for metadata in ([], [("authorization", "Bearer bad")]):
        assert refused(streaming(port, [TALK], metadata=metadata))[0] is grpc.StatusCode.UNAUTHENTICATED
    off = serve(lambda audio: {"text": "yes"}, **{"grpc.port": 0, "endpoints.riva": False})
    assert refused(streaming(off.server.grpc_port, [TALK]))[0] is grpc.StatusCode.UNIMPLEMENTED


def test_the_first_message_is_the_configuration():
    for data in (StreamingRecognizeRequest(audio_content=b"a").SerializeToString(), b"", b"\xff"):
        with pytest.raises(InvalidMessage, match="expected streaming_config first, then audio_content"):
            RivaStreaming.open(data, None, "an-id")  # type: ignore[arg-type]


def test_a_second_configuration(port):
    def audio():
        yield TALK

    messages = [
        StreamingRecognizeRequest(streaming_config={"config": RAW}),
        StreamingRecognizeRequest(audio_content=TALK),
        StreamingRecognizeRequest(streaming_config={"config": RAW}),
    ]
    from voxgate.proto.riva import STREAM

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(STREAM, StreamingRecognizeRequest.SerializeToString)
        code, details, responses = refused(call(iter(messages), timeout=30))
    assert (code, len(responses)) == (grpc.StatusCode.INVALID_ARGUMENT, 2)
    assert details == "message: expected streaming_config first, then audio_content, got streaming_config again"


def test_silence_that_ends_a_segment_later(port):
    config = {**RAW, "endpointing_config": {"stop_history": 2000}}
    data = encode(bursts((0.5, 1.2), (2.0, 2.4), length_s=5.0))
    assert len(transcripts(streaming(port, pieces(data, 3200), config))) == 1
    assert len(transcripts(streaming(port, pieces(data, 3200)))) == 2
    assert np.frombuffer(data, "<i2").any()
