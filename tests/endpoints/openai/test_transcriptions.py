"""Whole files over HTTP, on a real socket."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.http_client import HttpClient, chunk, request, until
from helpers.uploads import form, head, part, transcribe, wav
from helpers.wire import Client, encode, start, story, stream
from helpers.wires import TALK, TWO, failing, words_of_length

FILE = wav(TALK)
PATH = "/v1/audio/transcriptions"


def texts_of(server, audio=TALK):
    return [event["text"] for event in story(stream(server.url(), start(), audio)) if event["type"] == "segment"]


@pytest.mark.parametrize(
    "fields",
    [
        [("model", "whisper-1"), ("file", FILE)],
        [("file", FILE), ("model", "whisper-1")],
        [("file", FILE)],
        [("model", "x"), ("file", FILE), ("temperature", "0"), ("language", "en")],
    ],
    ids=["as the SDK", "as curl", "alone", "fields behind it"],
)
def test_the_text_is_that_of_the_native_wire(serve, fields):
    server = serve(words_of_length)
    status, headers, body = transcribe(server.port, *fields)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == {"text": " ".join(texts_of(server)), "usage": {"type": "duration", "seconds": 6.0}}
    until(lambda: server.service.streams == 0)


@pytest.mark.parametrize(
    ("response_format", "begins"), [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n"), ("text", "Some ")]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_plain_formats(serve, response_format, begins, is_first):
    fields = [("model", "x"), ("file", FILE)]
    fields.insert(1 if is_first else 2, ("response_format", response_format))
    status, _, body = transcribe(serve(words_of_length).port, *fields)
    assert status == 200
    assert body.startswith(begins)


@pytest.mark.parametrize("file", [b"", wav(b"")], ids=["no bytes", "no samples"])
@pytest.mark.parametrize("fields", [[("model", "x")], [("model", "x"), ("stream", "true")], []])
def test_a_file_without_audio(serve, file, fields):
    status, _, body = transcribe(serve(words_of_length).port, *fields, ("file", file))
    message = "expected a file with audio, got none"
    error = {"message": message, "type": "invalid_request_error", "param": "file", "code": "audio_too_short"}
    assert (status, body) == (400, {"error": error})


def test_verbose_json(serve):
    fields = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")]
    fields += [("timestamp_granularities[]", "segment"), ("file", FILE)]
    server = serve(words_of_length)
    _, _, body = transcribe(server.port, *fields)
    assert [segment["text"] for segment in body["segments"]] == texts_of(server)
    assert len(body["words"]) == 4


def sse(text):
    return [json.loads(event.removeprefix("data: ")) for event in text.strip().split("\n\n")]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_stream(serve, is_first):
    fields = [("model", "x"), ("file", FILE)]
    fields.insert(1 if is_first else 2, ("stream", "true"))
    body = form(*fields)
    with HttpClient(serve(words_of_length).port) as client:
        client.send(head(len(body)) + body)
        status, headers = client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        *deltas, done = sse("".join(piece.decode() for piece in iter(client.piece, b"")))
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"] != ""


def test_the_file_of_a_stream_is_taken_before_the_model_answers_and_events_come_as_it_answers(serve):
    """Proxies stop forwarding a body that the server holds back once its answer has begun."""
    may_answer = [threading.Event() for _ in range(40)]
    calls = itertools.count()

    def model(audio):
        may_answer[next(calls)].wait(60)
        return words_of_length(audio)

    settings = {"limits.buffered_audio_s": 2.0, "inference.warm_up": False, "vad.speculate_ms": 0}
    server = serve(model, **settings, **{"inference.threads": 1})
    whole = form(("model", "x"), ("stream", "true"), ("file", wav(TALK * 20)))
    with HttpClient(server.port) as client:
        client.send(head(None) + chunk(whole[:-1]))
        client.send(chunk(whole[-1:]) + b"0\r\n\r\n")
        for event in may_answer:
            event.set()
            if event is may_answer[0]:
                assert client.head()[0] == 200
            assert json.loads(client.piece().removeprefix(b"data: "))["type"] == "transcript.text.delta"
        assert b"transcript.text.done" in b"".join(iter(client.piece, b""))


def test_cuts_are_invisible(serve):
    server = serve(words_of_length)
    body = form(("model", "x"), ("file", FILE), ("response_format", "verbose_json"))
    expected = transcribe(server.port, ("model", "x"), ("file", FILE), ("response_format", "verbose_json"))[2]

    @settings(max_examples=10)
    @given(st.lists(st.integers(1, 30_000), min_size=1, max_size=10))
    def check(sizes):
        with HttpClient(server.port) as client:
            client.send(head(None))
            at = 0
            for size in itertools.cycle([max(size, 50) for size in sizes]):
                if at >= len(body):
                    break
                client.send(chunk(body[at : at + size]))
                at += size
            client.end()
            status, _, answer = client.response()
            assert (status, json.loads(answer)) == (200, expected)

    check()


def test_channels_are_mixed(serve):
    """Two voices, one after the other, on two channels: one transcript of both."""
    server = serve(words_of_length)
    mixed = encode(np.frombuffer(TWO, "<i2").reshape(-1, 2).mean(axis=1).astype(np.float32) / 32768)
    _, _, body = transcribe(server.port, ("file", wav(TWO, channels=2)))
    assert body["text"] == " ".join(texts_of(server, mixed))
    assert body["usage"]["seconds"] == 4.0


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ([("model", "x")], 400, "file", "missing_required_parameter"),
        ([("file", b"no audio at all"), ("model", "x")], 400, "file", "unsupported_media"),
        ([("model", "x"), ("file", b"no audio at all")], 400, "file", "unsupported_media"),
        ([("response_format", "mp3"), ("file", FILE)], 400, "response_format", "unsupported_value"),
        ([("model", "x"), ("file", FILE), ("response_format", "mp3")], 400, "response_format", "unsupported_value"),
        ([("file", FILE), ("file", FILE)], 400, "file", "invalid_form"),
        ([("prompt", "x" * 100_000), ("file", FILE)], 413, None, "fields_too_large"),
    ],
)
def test_what_is_refused(serve, fields, status, param, code):
    server = serve(words_of_length)
    got, _, body = transcribe(server.port, *fields)
    error = body["error"]
    assert (got, error["type"], error["param"], error["code"]) == (status, "invalid_request_error", param, code)
    until(lambda: server.service.streams == 0)


def test_what_a_client_names_is_not_fetched(serve):
    _, _, body = transcribe(serve(words_of_length).port, ("url", "http://127.0.0.1:1/x"), ("model", "x"))
    assert body["error"]["code"] == "missing_required_parameter"


def test_a_body_that_is_no_form(serve):
    with HttpClient(serve(words_of_length).port) as client:
        client.send(request("POST", PATH, content_type="application/json", content_length="2") + b"{}")
        status, _, body = client.answer()
        assert (status, body["error"]["code"]) == (400, "invalid_content_type")


@pytest.mark.parametrize("is_live", [True, False])
def test_a_file_has_a_size(serve, is_live):
    server = serve(words_of_length, **{"limits.upload_bytes": 100_000})
    fields = [("model", "x"), ("file", FILE)] if is_live else [("file", FILE), ("model", "x")]
    status, _, body = transcribe(server.port, *fields)
    assert (status, body["error"]["code"]) == (413, "file_too_large")
    until(lambda: server.service.streams == 0)


def test_the_disk_has_a_size(serve):
    server = serve(words_of_length, **{"limits.upload_spool_bytes": 10_000})
    status, headers, body = transcribe(server.port, ("file", FILE), ("model", "x"))
    assert (status, body["error"]["code"]) == (503, "spool_full")
    assert headers["retry-after"]
    assert transcribe(server.port, ("model", "x"), ("file", FILE))[0] == 200  # this one needs no disk


def test_an_utterance_that_fails_fails_the_whole(serve):
    """A missing one would look like silence."""
    server = serve(failing, **{"inference.warm_up": False})
    status, _, body = transcribe(server.port, ("model", "x"), ("file", FILE))
    assert (status, body["error"]["message"], body["error"]["type"]) == (500, "not this one", "server_error")


def test_credentials(serve):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    for headers in ({}, {"authorization": "Bearer bad"}):
        status, _, body = transcribe(server.port, ("file", FILE), **headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert transcribe(server.port, ("file", FILE), authorization="Bearer good")[0] == 200


def test_a_full_server(serve):
    server = serve(words_of_length, **{"limits.streams_per_address": 1})
    with Client(server.url()):
        status, headers, body = transcribe(server.port, ("file", FILE))
    assert (status, body["error"]["type"], body["error"]["code"]) == (503, "server_error", "streams_per_address")
    assert int(headers["retry-after"]) > 0


def test_methods_and_pages(serve):
    server = serve(words_of_length, **{"auth.origins": "https://app.example.com"})
    with HttpClient(server.port) as client:
        client.send(request("GET", PATH))
        status, headers, body = client.answer()
        assert (status, headers["allow"], body["error"]["code"]) == (405, "POST, OPTIONS", "method_not_allowed")
        client.send(request("OPTIONS", PATH, origin="https://app.example.com"))
        assert client.head()[1]["access-control-allow-origin"] == "https://app.example.com"
    status, headers, _ = transcribe(server.port, ("file", FILE), origin="https://app.example.com")
    assert (status, headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    assert transcribe(server.port, ("file", FILE), origin="https://evil.com")[0] == 403


@pytest.mark.parametrize("fields", [[("model", "x")], []], ids=["decoded as it arrives", "on the disk"])
def test_a_client_that_leaves_frees_everything(serve, fields):
    server = serve(words_of_length)
    client = HttpClient(server.port)
    client.send(head(10**9) + b"".join(part(*field) for field in fields))
    client.send(part("file", FILE * 10)[:-100])
    until(lambda: server.service.streams == 1)
    client.socket.close()
    until(lambda: server.service.streams == 0)


def test_an_upload_that_stalls(serve):
    server = serve(words_of_length, **{"limits.idle_timeout_s": 0.1})
    for fields in ([("model", "x")], []):
        with HttpClient(server.port) as client:
            client.send(head(10**9) + b"".join(part(*field) for field in fields) + part("file", FILE)[:-100])
            status, _, body = client.answer()
            assert (status, body["error"]["code"]) == (408, "timeout")


@pytest.mark.parametrize("fields", [[("model", "x")], []], ids=["decoded as it arrives", "on the disk"])
def test_an_upload_is_a_stream_from_its_beginning(serve, fields):
    """It counts, and the end of the server is an answer: also while its fields may still come."""
    server = serve(words_of_length)
    with HttpClient(server.port) as client:
        client.send(head(10**9) + b"".join(part(*field) for field in fields) + part("file", FILE)[:-100])
        until(lambda: sum(server.service.tally.active.values()) == 1)
        server.stop()
        status, headers, body = client.answer()
    error = body["error"]
    assert (status, headers["retry-after"], error["code"]) == (503, "5", "draining")
    assert error["message"] == "the server shuts down: try again"


@pytest.mark.parametrize(
    ("body", "settings_", "reason", "limit"),
    [
        (part("file", FILE)[:-100], {"limits.idle_timeout_s": 0.1}, "timeout", "idle_timeout_s"),
        (part("model", "x") + part("file", FILE), {"limits.upload_bytes": 100_000}, "too_large", "upload_bytes"),
        (part("file", FILE), {"limits.upload_spool_bytes": 1000}, "overloaded", "upload_spool_bytes"),
        (part("prompt", "x" * 5000), {"limits.upload_field_bytes": 1024}, "too_large", "upload_field_bytes"),
        (b"no form", {}, "invalid", None),
    ],
)
def test_how_an_upload_ended_is_counted_by_why(serve, body, settings_, reason, limit):
    server = serve(words_of_length, **settings_)
    with HttpClient(server.port) as client:
        client.send(head(10**9) + body)
        assert client.answer()[0] >= 400
    until(lambda: server.service.streams == 0)
    tally = server.service.tally
    assert tally.ends["segmented", "openai"][reason] == 1
    assert {name: n for name, n in tally.limit_hits.items() if n} == ({} if limit is None else {limit: 1})


def test_fields_may_come_late(serve):
    """Longer than a start may take on other wires."""
    server = serve(words_of_length, **{"limits.start_timeout_s": 0.1})
    body = form(("file", FILE), ("model", "x"))
    with HttpClient(server.port) as client:
        client.send(head(len(body)) + body[:-50])
        until(lambda: sum(server.service.tally.active.values()) == 1)
        with Client(server.url()) as other:  # which is sent away after the same time
            assert [event["code"] for event in other.rest()] == ["timeout"]
        client.send(body[-50:])
        assert client.answer()[0] == 200


def test_a_client_that_leaves_is_noticed_before_its_whole_file_was_transcribed(serve):
    calls, go_on = threading.Semaphore(0), threading.Event()

    def model(audio):
        calls.release()
        assert go_on.wait(30)
        return words_of_length(audio)

    server = serve(model, **{"inference.warm_up": False, "limits.buffered_audio_s": 1, "inference.per_stream": 1})
    client = HttpClient(server.port)
    body = form(("file", wav(TALK * 60)))
    client.send(head(len(body)) + body)
    assert calls.acquire(timeout=30)
    client.socket.close()
    go_on.set()
    until(lambda: server.service.streams == 0)
    n_calls = 1
    while calls.acquire(blocking=False):
        n_calls += 1
    assert n_calls < 60  # of 120
