"""Streams over plain HTTP, on real sockets."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.http_client import HttpClient, chunk, http_stream, request, until
from helpers.media import live_speech
from helpers.wire import bursts, encode, of_type, pieces, start, story, stream
from voxgate import Model

AUDIO = encode(bursts((0.5, 1.5), (2.2, 3.0), length_s=4))
SPEECH = encode(bursts((0.2, 4), length_s=4))


def summed(server, route, pieces_, **headers):
    return story(http_stream(server.port, f"/api/v1/{route}", pieces_, **headers))


@pytest.mark.parametrize("query", ["", "?interim_results=false&vad.min_speech_ms=100", "?notices=true"])
def test_the_events_are_those_of_the_websocket(serve, query):
    server = serve()
    options = {"vad": {"min_speech_ms": 100}} if "vad" in query else {"notices": True} if "notices" in query else {}
    expected = story(stream(server.url(), start(**options), AUDIO))
    assert len(of_type(expected, "segment")) == 2
    assert story(http_stream(server.port, f"/api/v1/segmented{query}", pieces(AUDIO, 6400))) == expected


def test_cuts_are_invisible(serve):
    """Chunks of any size, and a body in one piece."""
    server = serve()
    expected = summed(server, "segmented", [AUDIO])

    @settings(max_examples=10)
    @given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
    def check(sizes):
        ends = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 1 + len(AUDIO) // min(sizes))))
        cuts = [0, *(end for end in ends if end < len(AUDIO)), len(AUDIO)]
        assert summed(server, "segmented", [AUDIO[a:b] for a, b in itertools.pairwise(cuts)]) == expected

    check()


@pytest.mark.parametrize("size", [1, 2, 3, 4097])
def test_the_framing_is_invisible(serve, size):
    """The bytes on the wire, cut anywhere: also in the middle of a chunk's length."""
    server = serve()
    wire = b"".join(map(chunk, pieces(AUDIO[:64_000], 3200))) + b"0\r\n\r\n"
    with HttpClient(server.port).post("/api/v1/simple") as client:
        for piece in pieces(wire[:1000], size):
            client.send(piece)
        client.send(wire[1000:])
        assert client.head()[0] == 200
        segments = client.events()
    assert sum(segment["count"] for segment in segments) == 32_000


@pytest.mark.parametrize("size", [1, 700, 1 << 20])
@pytest.mark.parametrize("container", ["flac", "webm", "mp4"])
def test_a_body_of_which_nothing_is_said_may_be_a_container(serve, container, size):
    """As `curl --data-binary @FILE` sends it; what looks like nothing else is raw audio, as ever."""
    pytest.importorskip("av")
    server, data = serve(), live_speech(container)[:6000]
    wanted = http_stream(server.port, "/api/v1/simple?container=auto", [data])
    cut = [*pieces(data[:40], size), data[40:]]
    types = ("", "application/octet-stream", "application/x-www-form-urlencoded")
    for content_type in types if size > 1 else types[:1]:
        headers = {"content_type": content_type} if content_type else {}
        assert summed(server, "simple", cut, **headers) == story(wanted)
    raw = http_stream(server.port, "/api/v1/simple", [data], content_type="audio/pcm")
    assert sum(event["count"] for event in of_type(raw, "segment")) == len(data) // 2


def test_a_body_that_is_neither_audio_nor_a_container_is_named(serve):
    (error,) = http_stream(serve().port, "/api/v1/simple", [b"#EXTM3U\nhttp://localhost/x\n"])
    assert error["code"] == "unsupported_media"
    assert "a playlist" in error["message"]


def test_a_body_that_begins_late_or_is_short_is_raw_audio(serve):
    server = serve(**{"limits.start_timeout_s": 0.2})
    with HttpClient(server.port).open("/api/v1/simple?notices=true") as client:
        assert client.event()["type"] == "started"  # before any audio
        client.audio(AUDIO)
        client.end()
        assert sum(event["count"] for event in of_type(client.events(), "segment")) == len(AUDIO) // 2
    assert http_stream(server.port, "/api/v1/simple", []) == []
    (segment,) = http_stream(server.port, "/api/v1/simple", [AUDIO[:10]])
    assert segment["count"] == 5


def test_events_come_while_the_body_still_arrives(serve):
    with HttpClient(serve().port).open() as client:
        client.audio(AUDIO)
        assert [client.event()["type"] for _ in range(2)] == ["active", "inactive"]
        client.audio(AUDIO)
        client.end()
        assert len(of_type(client.events(), "segment")) >= 3


def test_the_head_of_the_answer_comes_before_any_audio(serve):
    with HttpClient(serve().port).post("/api/v1/segmented") as client:
        status, headers = client.head()
        assert (status, headers["content-type"]) == (200, "application/x-ndjson")
        client.end()
        assert client.events() == []


def test_server_sent_events(serve):
    with HttpClient(serve().port).post("/api/v1/simple", accept="text/event-stream") as client:
        assert client.head()[1]["content-type"] == "text/event-stream"
        client.audio(bytes(3200))
        client.end()
        kind, data, *end = client.piece().decode().split("\n")
        assert (kind, end) == ("event: segment", ["", ""])
        assert json.loads(data.removeprefix("data: "))["count"] == 1600
        assert client.piece() == b""


def test_a_connection_serves_one_stream_after_another(serve):
    server = serve()
    with HttpClient(server.port) as client:
        for _ in range(3):
            client.open("/api/v1/simple").audio(bytes(3200))
            client.end()
            assert sum(event["count"] for event in client.events()) == 1600
        client.send(request("GET", "/api/v1/health"))
        assert client.answer()[0] == 200


def test_a_body_with_a_length(serve):
    with HttpClient(serve().port) as client:
        client.send(request("POST", "/api/v1/simple", content_length=str(len(AUDIO))) + AUDIO)
        assert client.head()[0] == 200
        assert sum(event["count"] for event in client.events()) == len(AUDIO) // 2


def test_a_client_that_waits_for_leave_to_send_gets_it(serve):
    with HttpClient(serve().port).post("/api/v1/simple", method="PUT", expect="100-continue") as client:
        assert client.head()[0] == 100
        assert client.head()[0] == 200
        client.audio(bytes(3200))
        client.end()
        assert sum(event["count"] for event in client.events()) == 1600


def test_a_client_that_is_refused_gets_no_leave(serve):
    with HttpClient(serve().port).post("/api/v1/stateful", expect="100-continue") as client:
        assert client.answer()[0] == 501


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sample_rate=1", "format.sample_rate must be 4000..192000 Hz, got 1"),
        ("vad.threshold=7", "vad.threshold must be 0.01..0.99, got 7.0"),
        ("channels=x", 'channels: expected int, got "x"'),
    ],
)
def test_a_start_that_is_wrong(serve, query, message):
    server = serve()
    with HttpClient(server.port).post(f"/api/v1/segmented?{query}") as client:
        status, _, body = client.answer()
        assert (status, body) == (400, {"error": message, "code": "invalid_request"})
    assert server.service.streams == 0


def test_who_has_no_token(serve):
    server = serve(**{"auth.tokens": "good", "auth.in_start": True})
    for headers in ({}, {"authorization": "Bearer bad"}):
        with HttpClient(server.port).post("/api/v1/segmented", **headers) as client:
            status, told, body = client.answer()
            assert (status, told["www-authenticate"], body["code"]) == (401, "Bearer", "unauthorized")
    assert summed(server, "simple", [bytes(3200)], authorization="Bearer good")[0]["count"] == 1600
    assert server.service.admission.pending == 0


def test_a_full_server(serve):
    server = serve(**{"limits.streams": 1})
    with HttpClient(server.port).open(), HttpClient(server.port).post("/api/v1/segmented") as client:
        status, headers, body = client.answer()
        assert (status, body["code"]) == (503, "streams")
        assert int(headers["retry-after"]) > 0


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_refusal_reaches_a_client_that_is_still_sending(serve, connection):
    """Closing a socket with unread bytes would reset the connection and destroy the answer."""
    server = serve(**{"auth.tokens": "good"})
    for _ in range(5):
        with HttpClient(server.port) as client:
            head = request("POST", "/api/v1/segmented", content_length="3000000", connection=connection)
            client.send(head + bytes(3_000_000))
            assert client.answer()[0] == 401


def test_web_pages(serve):
    server = serve(**{"auth.origins": "https://app.example.com"})
    with HttpClient(server.port).post("/api/v1/segmented", origin="https://evil.com") as client:
        status, headers, body = client.answer()
        assert (status, body["code"]) == (403, "origin")
        assert "access-control-allow-origin" not in headers
    with HttpClient(server.port).post("/api/v1/segmented", origin="https://app.example.com") as client:
        assert client.head()[1]["access-control-allow-origin"] == "https://app.example.com"
    with HttpClient(server.port) as client:
        client.send(request("OPTIONS", "/api/v1/segmented", origin="https://app.example.com"))
        status, headers = client.head()
        assert (status, headers["access-control-allow-methods"]) == (204, "POST, PUT, OPTIONS")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_a_wrong_method(serve, method):
    with HttpClient(serve().port) as client:
        client.send(request(method, "/api/v1/segmented"))
        status, headers, body = client.answer()
        assert (status, headers["allow"], body["code"]) == (405, "POST, PUT, OPTIONS", "method_not_allowed")


def test_a_client_that_leaves_in_the_middle_frees_everything(serve):
    server = serve()
    client = HttpClient(server.port).open()
    client.audio(SPEECH)
    assert client.event()["type"] == "active"
    assert server.service.streams == 1
    client.socket.close()
    until(lambda: server.service.streams == 0)
    assert dict(server.service.tally.ends["segmented", "http"])["lost"] == 1
    assert server.service.audio_budget.total_s == 0


def test_silence_ends_the_stream_with_an_error(serve):
    with HttpClient(serve(**{"limits.idle_timeout_s": 0.1}).port).open() as client:
        error, *rest = client.events()
        assert (error["code"], rest) == ("timeout", [])
        client.wait_for_end()  # the rest of the body has no reader


def test_a_stream_that_the_server_cuts_short_says_so(serve):
    server = serve()
    with HttpClient(server.port).open() as client:
        client.audio(AUDIO)
        assert client.event()["type"] == "active"
        server.stop()
        assert [event["code"] for event in of_type(client.events(), "error")] == ["draining"]


class Gate(Model):
    """Answers when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()

    def infer(self, audio):
        assert self.may.wait(30)
        return {"count": len(audio)}


def test_a_model_that_is_behind_holds_the_client_back(serve):
    """An endless upload is bounded by what TCP takes, and nothing of it is lost."""
    model = Gate()
    server = serve(model, **{"limits.buffered_audio_s": 1, "inference.warm_up": False})
    with HttpClient(server.port).open("/api/v1/simple") as client:
        client.socket.settimeout(0.5)
        data, n_sent = chunk(bytes(64_000)), 0
        try:
            while n_sent < 2000:
                client.socket.sendall(data)
                n_sent += 1
        except TimeoutError:
            pass
        assert 0 < n_sent < 2000  # 128 MB do not fit between the two
        assert server.service.audio_budget.total_s < 10
        model.may.set()


def test_a_reader_that_stands_still_is_dropped_after_its_time(serve):
    server = serve(lambda audio: {"text": "x" * 200_000}, **{"server.send_timeout_s": 1, "limits.unsent_bytes": 1024})
    client = HttpClient(server.port, receive_buffer_bytes=4096).open("/api/v1/simple")
    with client:
        client.socket.settimeout(5)
        try:
            for _ in range(2000):
                client.audio(bytes(32_000))
                if server.service.streams == 0:
                    break
        except TimeoutError:
            pass
        until(lambda: server.service.streams == 0)


def test_a_slow_reader_gets_everything(serve):
    server = serve(lambda audio: {"n": len(audio), "text": "x" * 50_000}, **{"server.send_timeout_s": 30})
    with HttpClient(server.port, receive_buffer_bytes=4096).open("/api/v1/simple") as client:
        sender = threading.Thread(target=lambda: ([client.audio(bytes(32_000)) for _ in range(100)], client.end()))
        sender.start()
        assert sum(event["n"] for event in client.events()) == 100 * 16_000
        sender.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("name", ["-", "."])
def test_curl_prints_captions_while_it_sends(serve, name):
    server = serve()
    command = ["curl", "-sNT", name, server.http("/api/v1/segmented?sample_rate=16000")]
    began = threading.Event()

    def speak(stdin):
        while not began.is_set():
            stdin.write(SPEECH)  # curl -T - prints only while it has something to send
            stdin.flush()
        stdin.write(AUDIO)
        stdin.close()

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
        speaker = threading.Thread(target=speak, args=[curl.stdin])
        speaker.start()
        assert json.loads(curl.stdout.readline())["type"] == "active"
        began.set()
        events = [json.loads(line) for line in curl.stdout]
        speaker.join()
    assert len(of_type(events, "segment")) >= 2
    assert curl.returncode == 0
