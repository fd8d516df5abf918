"""The client on every wire, against a real server: the same events."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.wire import bursts
from helpers.wires import failing, words_of_length
from voxgate import client
from voxgate.client.wires import WIRES, check_wire
from voxgate.protocol.events import Error, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

GRPC = {"grpc.port": 0}
SPEECH = bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0)
SPOKEN = (np.round(SPEECH * 32_767).astype(np.int16), 16_000)


def collected(server, wire, **options):
    options = {"chunk_size": 6400, **options}
    port = server.server.grpc_port if wire == "grpc" else server.port
    return client.collect(SPOKEN, addr=f"127.0.0.1:{port}", wire=wire, **options)


def finals(events):
    return [
        (round(event.start_time, 3), round(event.end_time, 3), event.output["text"])
        for event in events
        if isinstance(event, Segment) and event.is_final
    ]


@pytest.mark.parametrize("wire", WIRES)
def test_the_results_are_those_of_the_native_wire(serve, wire):
    server = serve(words_of_length, **GRPC)
    expected = finals(collected(server, "native"))
    assert len(expected) == 2
    for interim_results in (False, True):
        found = finals(collected(server, wire, interim_results=interim_results))
        if wire == "assemblyai":  # a turn has no times but those of its words
            assert [text for *_, text in found] == [text for *_, text in expected]
            for (begin, end, _), (first, last, _) in zip(found, expected, strict=True):
                assert (begin, end) == (pytest.approx(first + 0.1, abs=0.002), pytest.approx(first + 0.3, abs=0.002))
                assert end <= last
        else:
            assert found == expected


@pytest.mark.parametrize("wire", WIRES)
def test_options(serve, wire):
    server = serve(words_of_length, **GRPC)
    vad = client.VadOptions(silence_duration_ms=2000)
    assert len(finals(collected(server, wire, vad=vad))) == 1


@pytest.mark.parametrize("wire", WIRES)
def test_an_utterance_that_fails(serve, wire):
    events = collected(serve(failing, **GRPC, **{"inference.warm_up": False}), wire)
    assert [event.message for event in events if isinstance(event, Error)] == ["not this one"] * 2


@pytest.mark.parametrize("wire", WIRES)
def test_tokens(serve, wire):
    server = serve(words_of_length, **GRPC, **{"auth.tokens": "good"})
    assert len(finals(collected(server, wire, token="good"))) == 2
    with pytest.raises(client.RefusedError) as caught:
        collected(server, wire, token="bad")
    assert caught.value.status == 401
    assert "bad" not in str(caught.value)


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_listens(wire):
    with pytest.raises(client.ConnectError):
        client.collect(SPOKEN, addr="127.0.0.1:1", wire=wire)


def test_addresses():
    start = Start(AudioFormat(1, 16_000, 16, False))
    default = "ws://host:1/api/v1/segmented"
    assert check_wire("native", default, start) == default
    assert check_wire("http", default, start) == default
    assert check_wire("openai", default, start) == "ws://host:1/v1/realtime?intent=transcription"
    assert check_wire("openai", "wss://host/other?x=1", start) == "wss://host/other?x=1"
    query = "encoding=linear16&sample_rate=16000&channels=1&interim_results=false"
    assert check_wire("deepgram", default, start) == f"ws://host:1/v1/listen?{query}"
    assert check_wire("deepgram", "wss://host/other?x=1", start) == f"wss://host/other?x=1&{query}"
    query = "sample_rate=16000&encoding=pcm_s16le&format_turns=true"
    assert check_wire("assemblyai", default, start) == f"ws://host:1/v3/ws?{query}"
