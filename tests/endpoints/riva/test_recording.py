"""`Recognize`, on a real socket."""

from __future__ import annotations

import queue

import grpc
import pytest

from helpers.riva import RAW, recognize, refused, streaming, transcripts
from helpers.uploads import wav
from helpers.wire import pieces
from helpers.wires import TALK, TWO
from voxgate import InferenceError
from voxgate.proto.riva import RECOGNIZE, STREAM, RecognizeRequest, StreamingRecognizeRequest


@pytest.mark.parametrize("audio", [TALK, wav(TALK)])
def test_the_results_are_those_of_a_stream(port, audio):
    response = recognize(port, audio, id={"value": "my-id"})
    assert transcripts([response]) == transcripts(streaming(port, pieces(TALK, 3200)))
    assert response.id.value == "my-id"


def test_two_channels(port):
    config = {**RAW, "audio_channel_count": 2, "enable_separate_recognition_per_channel": True}
    assert [result.channel_tag for result in recognize(port, TWO, config).results] == [1, 2]


def test_no_audio(port):
    assert list(recognize(port, b"").results) == []


@pytest.mark.parametrize(
    ("audio", "config", "code"),
    [
        (TALK, {"encoding": "LINEAR_PCM"}, "INVALID_ARGUMENT"),
        (b"no sound" * 1000, {"encoding": "FLAC"}, "INVALID_ARGUMENT"),
        (bytes(2**20 + 2**19), RAW, "RESOURCE_EXHAUSTED"),
    ],
)
def test_what_cannot_be_served(port, audio, config, code):
    assert refused(lambda: [recognize(port, audio, config)])[0] is grpc.StatusCode[code]


def test_a_recording_longer_than_a_message_of_a_stream(port):
    """The limit of a stream's messages holds for streams."""
    long = bytes(2**20 + 2**17)
    assert list(recognize(port, long).results) == []
    assert refused(streaming(port, [long]))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("is_error", [True, False])
def test_one_utterance_that_fails_fails_the_whole(serve, is_error):
    calls = iter(range(100))

    def model(audio):
        if next(calls) == 0:
            if is_error:
                raise InferenceError("not this one")
            return {"text": "not \ud800 this"}
        return {"text": "good"}

    server = serve(model, **{"grpc.port": 0, "inference.warm_up": False, "vad.speculate_ms": 0})
    code, details, _ = refused(lambda: [recognize(server.server.grpc_port, TALK)])
    assert code is grpc.StatusCode.INTERNAL
    assert details == ("not this one" if is_error else "Internal server error")


def test_bytes_that_are_no_request(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        code, details, _ = refused(lambda: [channel.unary_unary(RECOGNIZE)(b"\xff", timeout=30)])
        assert (code, details) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "message: expected a RecognizeRequest, got other bytes",
        )
        two = channel.stream_unary(RECOGNIZE, RecognizeRequest.SerializeToString)
        request = RecognizeRequest(config=RAW, audio=TALK)
        code, details, _ = refused(lambda: [two(iter([request, request]), timeout=30)])
        assert (code, details) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "message: expected one RecognizeRequest, got another",
        )


@pytest.mark.parametrize(
    ("settings", "code", "text", "limit"),
    [
        (
            {"limits.message_timeout_s": 0.2},
            "DEADLINE_EXCEEDED",
            "the recording was not complete within 0.2 s",
            "message_timeout_s",
        ),
        ({"limits.recording_bytes": 2**15}, "RESOURCE_EXHAUSTED", "message larger than 32768 bytes", "recording_bytes"),
    ],
)
def test_a_recording_that_is_too_slow_or_too_large(serve, settings, code, text, limit):
    """Its time is that of a message, not of a start."""
    server = serve(lambda audio: {"text": "yes"}, **{"grpc.port": 0, "limits.start_timeout_s": 0.1, **settings})
    never: queue.SimpleQueue[object] = queue.SimpleQueue()
    request = RecognizeRequest(config=RAW, audio=bytes(2**16))
    with grpc.insecure_channel(f"127.0.0.1:{server.server.grpc_port}") as channel:
        method = channel.stream_unary(RECOGNIZE, RecognizeRequest.SerializeToString)
        messages = iter(never.get, None) if limit == "message_timeout_s" else iter([request])
        found, details, _ = refused(lambda: [method(messages, timeout=30)])
        never.put(None)
    assert (found, details[: len(text)]) == (grpc.StatusCode[code], text)
    assert server.service.tally.limit_hits[limit] == 1


def test_an_id_that_is_too_long(port):
    text = "id.value: expected at most 256 characters, got 257"
    assert recognize(port, b"", id={"value": "é" * 256}).id.value == "é" * 256
    code, details, _ = refused(lambda: [recognize(port, b"", id={"value": "é" * 257})])
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    request = StreamingRecognizeRequest(id={"value": "é" * 257}, streaming_config={"config": RAW})
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(STREAM, StreamingRecognizeRequest.SerializeToString)
        code, details, _ = refused(lambda: call(iter([request]), timeout=30))
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, text)
