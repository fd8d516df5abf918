"""What the websockets of all APIs share: access, limits, metrics, log lines, and `/api/v1/info`."""

from __future__ import annotations

import json
import logging
import re
import socket
import urllib.request
from typing import Annotated

import msgspec
import pytest

import voxgate
from helpers.wire import Client, bursts, encode, pieces, refused
from helpers.wires import TALK, words_of_length

PATHS = {
    "deepgram": "/v1/listen?encoding=linear16&sample_rate=16000",
    "assemblyai": "/v3/ws?sample_rate=16000",
}
ENDS = {"deepgram": {"type": "CloseStream"}, "assemblyai": {"type": "Terminate"}}


def url(server, wire: str) -> str:
    return f"ws://127.0.0.1:{server.port}{PATHS[wire]}"


def scrape(server) -> str:
    with urllib.request.urlopen(server.http("/metrics"), timeout=30) as response:
        return response.read().decode()


@pytest.mark.parametrize("wire", PATHS)
def test_the_wire_is_a_label_of_metrics_and_log_lines(serve, wire, caplog):
    caplog.set_level(logging.INFO, "voxgate.session")
    server = serve(words_of_length)
    assert f'wire="{wire}"' not in scrape(server)
    with Client(url(server, wire)) as client:
        client.send(*pieces(TALK, 640), ENDS[wire])
        client.rest()
        assert client.close_code == 1000
    found = scrape(server)
    for name, label in [("streams_accepted", ""), ("streams", "outcome"), ("stream_ends", "reason")]:
        ended = f'{label}="completed"' if label else ""
        lines = [line for line in found.splitlines() if line.startswith(f"voxgate_{name}_total{{")]
        mine = [line for line in lines if f'wire="{wire}"' in line and ended in line]
        assert [line.rpartition(" ")[2] for line in mine] == ["1.0"]
    (record,) = [record for record in caplog.records if record.message == "session over"]
    assert record.fields["wire"] == wire
    assert record.fields["outcome"] == "finished"


@pytest.mark.parametrize("wire", PATHS)
def test_the_id_of_the_session_is_the_one_that_the_client_knows(serve, wire, caplog):
    caplog.set_level(logging.INFO, "voxgate.session")
    with Client(url(serve(words_of_length), wire)) as client:
        client.send(ENDS[wire])
        begin = client.receive()
        client.rest()
        known = client.socket.response.headers.get("dg-request-id") or begin["id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", known)


@pytest.mark.parametrize("wire", PATHS)
@pytest.mark.parametrize("size", [7, 640, 641, 200_000])
def test_cuts_of_the_audio_make_no_difference(serve, wire, size):
    audio = encode(bursts((0.3, 0.6), (1.5, 1.8), length_s=2.8)) if size < 640 else TALK
    server = serve(words_of_length, **{"vad.interim_interval_ms": 60_000})
    told = []
    for messages in ([audio], list(pieces(audio, size))):
        with Client(url(server, wire)) as client:
            client.send(*messages, ENDS[wire])
            told.append([strip(answer) for answer in client.rest()])
            assert client.close_code == 1000
    assert told[0] == told[1]
    assert len([answer for answer in told[0] if answer["type"] in ("Results", "Turn")]) == 2


OWN = {"metadata", "id", "expires_at", "created", "request_id", "session_duration_seconds"}
"""Fields that differ between two streams with the same audio."""


def strip(answer):
    return {key: value for key, value in answer.items() if key not in OWN}


@pytest.mark.parametrize(("wire", "told"), [("deepgram", "Error"), ("assemblyai", "Error")])
def test_a_message_that_is_never_complete_ends_in_the_words_of_the_api(serve, wire, told):
    server = serve(words_of_length, **{"limits.message_timeout_s": 0.2})
    request = f"GET {PATHS[wire]} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    request += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request.encode() + bytes([0x82, 0xFE, 1, 0, 0, 0, 0, 0]) + bytes(10))  # 10 of 256 bytes
        received = b""
        while b"was not complete within" not in received and (data := client.recv(65_536)):
            received += data
    assert f'"type":"{told}"'.encode() in received
    assert b'"type":"error"' not in received


@pytest.mark.parametrize("wire", PATHS)
def test_a_server_that_drains_sends_what_is_due_and_closes(serve, wire):
    server = serve(words_of_length, **{"server.drain_s": 30, "vad.interim_interval_ms": 60_000})
    with Client(url(server, wire)) as client:
        client.send(*pieces(TALK, 640))
        answers = client.until("Results" if wire == "deepgram" else "Turn")
        server.server._loop.call_soon_threadsafe(server.service.drain, 30.0)
        server.server._loop.call_soon_threadsafe(server.service.end_sessions)
        answers += client.rest()
        assert client.close_code == 1001
    assert len([answer for answer in answers if answer["type"] in ("Results", "Turn")]) == 2


def test_info_lists_the_wires(serve):
    server = serve(words_of_length, **{"endpoints.assemblyai": False})
    with urllib.request.urlopen(server.http("/api/v1/info"), timeout=30) as response:
        wires = json.load(response)["wires"]
    assert wires["native"]["paths"] == ["/api/v1/simple", "/api/v1/segmented", "/api/v1/stateful"]
    assert wires["deepgram"] == {"served": True, "reason": None, "paths": ["/v1/listen", "/v2/listen"]}
    assert wires["assemblyai"] == {"served": False, "reason": "endpoints.assemblyai is false", "paths": ["/v3/ws"]}


@pytest.mark.parametrize("wire", PATHS)
def test_options_of_the_model_are_parameters(serve, wire):
    class Options(msgspec.Struct):
        language: str = "en"
        beams: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1

    class Model(voxgate.Model):
        def infer(self, audio, request):
            return {"text": f"{request.options.language} {request.options.beams}"}

    Model.Options = Options
    server = serve(Model(), **{"vad.interim_interval_ms": 60_000})
    with Client(url(server, wire) + "&language=de&beams=3&nobody=knows") as client:
        client.send(*pieces(TALK, 640), ENDS[wire])
        texts = re.findall(r'"transcript": "(.*?)"', json.dumps(client.rest()))
    assert texts == ["de 3"] * 2
    status, _, body = refused(url(server, wire) + "&beams=9")
    assert status == 400
    assert "options.beams: expected int of 1..5, got 9" in json.dumps(body)


@pytest.mark.parametrize("wire", PATHS)
def test_models_without_text_are_refused(serve, wire, monkeypatch):
    server = serve(words_of_length)
    monkeypatch.setattr(type(server.service), "gives_text", False)
    status, _, body = refused(url(server, wire))
    assert status == 400
    assert "answers without a text, and this API carries words" in json.dumps(body)


@pytest.mark.parametrize("wire", PATHS)
def test_a_token_in_a_first_message_is_the_native_wires_alone(serve, wire):
    server = serve(words_of_length, **{"auth.tokens": "good", "auth.in_start": True})
    assert refused(url(server, wire))[0] == 401
