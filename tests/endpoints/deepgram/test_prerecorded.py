"""``POST /v1/listen``: whole recordings."""

from __future__ import annotations

import hashlib
import http.client
import json

import pytest

from helpers.uploads import wav
from helpers.wire import Client, of_type, pieces, start, stream
from helpers.wires import TALK, TWO, failing, words_of_length

RAW = "encoding=linear16&sample_rate=16000"


def post(server, body, query="", headers=None, method="POST"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, f"/v1/listen?{query}", body, headers or {})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, json.loads(text or "null")


def test_a_recording(serve):
    server = serve(words_of_length)
    recording = wav(TALK)
    headers = {"Content-Type": "audio/wav", "Authorization": "Token any"}
    status, headers, body = post(server, recording, "utterances=true&model=nova-3", headers)
    native = of_type(stream(server.url(), start(), *pieces(TALK, 640)), "segment")
    assert status == 200
    assert headers["dg-request-id"] == body["metadata"]["request_id"]
    assert body["metadata"]["sha256"] == hashlib.sha256(recording).hexdigest()
    assert (body["metadata"]["duration"], body["metadata"]["channels"]) == (6.0, 1)
    ((channel,), utterances) = body["results"]["channels"], body["results"]["utterances"]
    (best,) = channel["alternatives"]
    assert best["transcript"] == " ".join(event["text"] for event in native)
    assert len(best["words"]) == 4
    assert best["words"][2]["start"] == pytest.approx(native[1]["start_time"] + 0.1, abs=0.002)
    assert [(one["transcript"], one["start"], one["end"]) for one in utterances] == [
        (event["text"], event["start_time"], event["end_time"]) for event in native
    ]


def test_raw_audio(serve):
    _, _, body = post(serve(words_of_length), TALK, RAW)
    assert len(body["results"]["channels"][0]["alternatives"][0]["words"]) == 4
    assert "utterances" not in body["results"]


def test_two_channels(serve):
    _, _, body = post(serve(words_of_length), wav(TWO, channels=2), "multichannel=true")
    assert [len(channel["alternatives"][0]["words"]) for channel in body["results"]["channels"]] == [2, 2]
    assert body["metadata"]["channels"] == 2


@pytest.mark.parametrize(("body", "query"), [(b"", ""), (b"", RAW), (wav(b""), "")])
def test_a_recording_without_audio(serve, body, query):
    status, headers, answer = post(serve(words_of_length), body, query)
    assert (status, answer["err_code"]) == (400, "Bad Request")
    assert answer["err_msg"] == headers["dg-error"] == "expected a recording, got no audio"


def test_silence_is_an_empty_transcript(serve):
    _, _, body = post(serve(words_of_length), wav(bytes(32_000)))
    assert body["results"]["channels"] == [{"alternatives": [{"transcript": "", "confidence": 0.0, "words": []}]}]


def test_a_body_that_comes_in_pieces(serve):
    server = serve(words_of_length)
    whole = post(server, wav(TALK))[2]["results"]
    assert post(server, pieces(wav(TALK), 1000))[2]["results"] == whole


@pytest.mark.parametrize(
    ("query", "body", "headers"),
    [
        ("", b'{"url":"http://127.0.0.1:1/x.wav"}', {"Content-Type": "application/json"}),
        ("", b"{}", {"Content-Type": "Application/JSON; charset=utf-8"}),
        ("callback=http://127.0.0.1:1/", b"", {}),
    ],
)
def test_nothing_that_a_client_names_is_fetched_or_called(serve, query, body, headers):
    status, _, answer = post(serve(words_of_length), body, query, headers)
    assert (status, answer["err_code"]) == (400, "Bad Request")
    assert "the server fetches nothing" in answer["err_msg"]


def test_what_is_no_recording(serve):
    status, headers, body = post(serve(words_of_length), bytes(range(256)) * 100)
    assert (status, body["err_code"]) == (400, "Bad Request")
    assert headers["dg-error"] == body["err_msg"]


def test_a_recording_that_is_too_large(serve):
    status, _, body = post(serve(words_of_length, **{"limits.upload_bytes": 1024}), wav(TALK))
    assert (status, body["err_code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_one_utterance_that_fails_fails_the_whole(serve):
    status, _, body = post(serve(failing, **{"inference.warm_up": False}), wav(TALK))
    assert (status, body["err_code"], body["err_msg"]) == (500, "INTERNAL_SERVER_ERROR", "not this one")


def test_a_wrong_key_and_a_full_server(serve):
    server = serve(words_of_length, **{"auth.tokens": "good", "limits.streams": 1})
    status, headers, body = post(server, wav(TALK), headers={"Authorization": "Token bad"})
    assert (status, body["err_code"], headers["www-authenticate"]) == (401, "INVALID_AUTH", "Token")
    with Client(server.url(), additional_headers={"Authorization": "Bearer good"}):
        status, headers, body = post(server, wav(TALK), headers={"Authorization": "Token good"})
    assert (status, body["err_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert 4 <= int(headers["retry-after"]) <= 9


def test_other_methods(serve):
    status, headers, body = post(serve(words_of_length), None, method="GET")
    assert (status, headers["allow"]) == (405, "POST, OPTIONS")
    assert "or a websocket, got GET" in body["err_msg"]


def test_pages_of_other_origins(serve):
    server = serve(words_of_length, **{"auth.origins": "https://a.example"})
    status, headers, _ = post(server, wav(TALK), headers={"Origin": "https://a.example"})
    assert (status, headers["access-control-allow-origin"]) == (200, "https://a.example")
    status, headers, _ = post(server, wav(TALK), headers={"Origin": "https://b.example"})
    assert (status, "access-control-allow-origin" in headers) == (403, False)


def test_a_client_that_leaves_frees_everything(serve):
    server = serve(words_of_length)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/v1/listen")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(wav(TALK)[:1000])
    connection.close()
    # The fixture asserts, when it stops, that no stream is left.
