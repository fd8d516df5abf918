"""The messages of the native wire as those of `voxgate.proto`, and back."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("google.protobuf")

from voxgate.client.wires.grpc_messages import audio_message, event_text, request_message
from voxgate.proto.voxgate import ClientMessage, ServerMessage
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import encode_request
from voxgate.protocol.requests import Flush, KeepAlive, Start, Stop, VadOptions


def test_requests():
    vad = VadOptions(silence_duration_ms=300)
    start = Start(AudioFormat(2, 8000, 8, False, "mulaw"), True, "a trace", vad, True, options={"n": 3, "words": ["a"]})
    message = ClientMessage.FromString(request_message(encode_request(start), "simple"))
    sent = message.start
    assert (sent.route, sent.interim_results, sent.notices, sent.HasField("eager")) == ("simple", True, True, False)
    form = sent.format
    assert (form.channels, form.sample_rate, form.bit_depth, form.encoding) == (2, 8000, 8, "mulaw")
    assert (form.HasField("is_float"), form.HasField("container")) == (True, False)
    assert (sent.vad.silence_duration_ms, sent.vad.HasField("threshold")) == (300, False)
    assert dict(sent.options.items())["n"] == 3
    for request, name in ((Stop(True), "stop"), (Flush(), "flush"), (KeepAlive(), "keep_alive")):
        assert ClientMessage.FromString(request_message(encode_request(request), "")).WhichOneof("message") == name
    assert ClientMessage.FromString(audio_message(memoryview(b"abc"))).audio == b"abc"


def test_events():
    output = {"count": 3.0, "score": 0.5, "words": [{"word": "a", "known": True, "none": None}]}
    segment = {"start_time": 0.5, "end_time": 1.25, "is_final": True, "output": output, "segment_id": 7}
    assert json.loads(event_text(ServerMessage(segment=segment)) or "") == {
        **{"type": "segment", "start_time": 0.5, "end_time": 1.25, "is_final": True, "channel": 0, "segment_id": 7},
        **{"count": 3, "score": 0.5, "words": [{"word": "a", "known": True, "none": None}]},
    }
    assert json.loads(event_text(ServerMessage(active={"time": 0.0})) or "") == {
        **{"type": "active", "time": 0.0, "channel": 0}
    }
    assert event_text(ServerMessage()) is None
    assert event_text(ServerMessage.FromString(bytes.fromhex("fa0100"))) is None
