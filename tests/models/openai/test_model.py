"""`openai:URL` against a real HTTP server on this machine, which does everything wrong that a server can do."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import numpy as np
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

pytest.importorskip("httpx", reason="httpx is optional: pip install 'voxgate[openai]'")

from helpers.transcription_server import Received, TranscriptionServer, broken_stream, events, transcription_server
from helpers.wire import FLUSH, STOP, Client, bursts, encode, start
from voxgate.errors import InferenceError, ModelLoadError
from voxgate.models import load_model
from voxgate.models.openai import OpenAI
from voxgate.models.request import Request
from voxgate.testing import serving

KEY = "sk-secret-123456"
SECOND = (0.1 * np.sin(np.arange(16_000))).astype(np.float32)


def answers(model: OpenAI, *requests: Request, waits: list[float] | None = None) -> list[list[dict[str, Any]]]:
    """Everything that a call yields, for calls one after the other. waits: is filled with the waits between tries."""

    async def sleep(wait_s: float) -> None:
        if waits is not None:
            waits.append(wait_s)

    async def main() -> list[list[dict[str, Any]]]:
        model._connected().sleep = sleep
        try:
            return [[answer async for answer in model.infer(SECOND, one)] for one in requests or (Request(),)]
        finally:
            await model.close()

    return asyncio.run(main())


def warm_up(model: OpenAI) -> None:
    async def main() -> None:
        try:
            await model.warm_up()
        finally:
            await model.close()

    asyncio.run(main())


def error_of(model: OpenAI, request: Request | None = None, waits: list[float] | None = None) -> str:
    with pytest.raises(InferenceError) as raised:
        answers(model, request or Request(), waits=waits)
    assert raised.value.__cause__ is None
    return str(raised.value)


def test_a_call_sends_its_audio_and_what_was_configured(remote: TranscriptionServer) -> None:
    model = OpenAI(remote.url, model="base", language="en", temperature=0.2)
    assert answers(model) == [[{"text": "Hello."}]]
    (call,) = remote.calls
    assert call.fields == {"response_format": ["json"], "temperature": ["0.2"], "model": ["base"], "language": ["en"]}
    assert call.rate == 16_000
    np.testing.assert_allclose(call.samples, SECOND, atol=1 / 32768)
    assert "authorization" not in call.headers


def test_what_a_session_asks_for_comes_first(remote: TranscriptionServer) -> None:
    model = OpenAI(remote.url, model="base", language="en", prompt="Voxgate")
    answers(model, Request(options=OpenAI.Options(language="de")), Request(options=OpenAI.Options()))
    assert [(call.fields["language"], call.fields["prompt"]) for call in remote.calls] == [
        (["de"], ["Voxgate"]),
        (["en"], ["Voxgate"]),
    ]


def test_words_and_segments_when_the_server_gives_them(remote: TranscriptionServer) -> None:
    word, segment = {"word": "Hello", "start": 0.1, "end": 0.5}, {"text": "Hello.", "start": 0.0, "end": 1.0}
    body = {"text": "Hello.", "language": "english", "duration": 1.0, "words": [word], "segments": [segment]}
    remote.replies.append(JSONResponse(body))
    model = OpenAI(remote.url, response_format="verbose_json")
    expected = {"text": "Hello.", "language": "english", "words": [word], "segments": [segment]}
    assert answers(model, Request(), Request()) == [[expected], [{"text": "Hello."}]]
    assert remote.calls[0].fields["timestamp_granularities[]"] == ["word", "segment"]


def delta(text: str) -> dict[str, str]:
    return {"type": "transcript.text.delta", "delta": text}


def test_tokens_are_interims(remote: TranscriptionServer) -> None:
    remote.reply = lambda received: events(
        delta("Hel"), delta("lo"), {"type": "transcript.text.done", "text": "Hello."}
    )
    model = OpenAI(remote.url, stream=True)
    assert answers(model) == [[{"text": "Hel"}, {"text": "Hello"}, {"text": "Hello."}]]
    assert remote.calls[0].fields["stream"] == ["true"]


def test_a_server_that_cannot_stream_answers_at_once(remote: TranscriptionServer) -> None:
    assert answers(OpenAI(remote.url, stream=True)) == [[{"text": "Hello."}]]


def test_a_piece_arrives_while_the_server_still_decodes(remote: TranscriptionServer) -> None:
    go_on = threading.Event()

    async def body() -> Any:
        yield 'data: {"type": "transcript.text.delta", "delta": "He"}\n\n'
        await asyncio.to_thread(go_on.wait, 30)
        yield "data: [DONE]\n\n"

    remote.reply = lambda received: StreamingResponse(body(), media_type="text/event-stream")

    async def main() -> None:
        model = OpenAI(remote.url, stream=True)
        results = model.infer(SECOND, Request())
        assert await anext(results) == {"text": "He"}
        go_on.set()
        assert [result async for result in results] == [{"text": "He"}]
        await model.close()

    asyncio.run(main())


def test_the_shortest_audio_needs_no_call(remote: TranscriptionServer) -> None:
    async def main() -> list[Any]:
        return [one async for one in OpenAI(remote.url).infer(SECOND[:1599], Request())]

    assert asyncio.run(main()) == [{"text": ""}]
    assert remote.calls == []


# --- failures of a call ---


@pytest.mark.parametrize(
    "failure",
    [
        lambda: JSONResponse({}, 429),
        lambda: JSONResponse({}, 500),
        lambda: PlainTextResponse("Bad gateway", 502),
        lambda: broken_stream(delta("Hel")),
        lambda: broken_stream(media_type="application/json"),
        lambda: events(delta("Hel")),
        lambda: events({"error": {"message": "CUDA"}}),
    ],
)
def test_what_may_pass_is_tried_again(remote: TranscriptionServer, failure: Any) -> None:
    waits: list[float] = []
    remote.replies.extend([failure(), failure()])
    (got,) = answers(OpenAI(remote.url), waits=waits)
    assert got[-1] == {"text": "Hello."}
    assert len(remote.calls) == 3
    assert 0.125 <= waits[0] <= 0.25 <= waits[1] <= 0.5


def test_a_wait_that_the_server_names_is_kept(remote: TranscriptionServer) -> None:
    waits: list[float] = []
    remote.replies.extend([JSONResponse({}, 429, {"retry-after": "7"}), JSONResponse({}, 503, {"retry-after": "0"})])
    answers(OpenAI(remote.url), waits=waits)
    assert waits[0] == 7
    assert 0.25 <= waits[1] <= 0.5


def test_a_wait_beyond_the_deadline_ends_the_call(remote: TranscriptionServer) -> None:
    waits: list[float] = []
    remote.reply = JSONResponse({}, 429, {"retry-after": "31"})
    assert error_of(OpenAI(remote.url), waits=waits) == "The model server answered 429"
    assert (len(remote.calls), waits) == (1, [])


def test_an_interim_is_tried_once(remote: TranscriptionServer) -> None:
    remote.reply = JSONResponse({}, 503)
    assert error_of(OpenAI(remote.url), Request(final=False)) == "The model server answered 503"
    assert len(remote.calls) == 1


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (JSONResponse({"error": {"message": "too short"}}, 400), "The model server answered 400: too short"),
        (JSONResponse({"error": {"message": f"bad key {KEY}"}}, 401), "The model server answered 401"),
        (JSONResponse({"detail": "Not Found"}, 404), "The model server answered 404"),
        (RedirectResponse("http://localhost:1/v1/audio/transcriptions"), "The model server answered 307"),
        (PlainTextResponse("Hello."), "The model server sent no valid transcript"),
        (JSONResponse({"txt": "Hello."}), "The model server sent no valid transcript"),
        (JSONResponse({"text": None}), "The model server sent no valid transcript"),
        (Response(b'{"text": "' + bytes(5 << 20), 200), "The model server sent too long an answer"),
        (Response(bytes(5 << 20), 500), "The model server sent too long an answer"),
    ],
)
def test_what_does_not_pass_is_an_error_at_once(remote: TranscriptionServer, reply: Response, text: str) -> None:
    remote.reply = reply
    assert error_of(OpenAI(remote.url)) == text
    assert len(remote.calls) == 1


def test_a_server_that_says_nothing_is_left_at_the_deadline(remote: TranscriptionServer) -> None:
    left = threading.Event()

    async def never(received: Received) -> Response:
        await asyncio.to_thread(left.wait, 30)
        return JSONResponse({"text": "late"})

    remote.reply = never
    assert error_of(OpenAI(remote.url, timeout_s=0.1)) == "The model server did not answer in time"
    left.set()


def test_a_stream_that_stands_still_is_left_at_the_deadline(remote: TranscriptionServer) -> None:
    left = threading.Event()

    async def body() -> Any:
        yield 'data: {"type": "transcript.text.delta", "delta": "He"}\n\n'
        await asyncio.to_thread(left.wait, 30)

    remote.reply = lambda received: StreamingResponse(body(), media_type="text/event-stream")
    assert error_of(OpenAI(remote.url, stream=True, timeout_s=0.5)) == "The model server did not answer in time"
    left.set()


def test_a_call_that_is_cancelled_ends(remote: TranscriptionServer) -> None:
    left, asked = threading.Event(), threading.Event()

    async def never(received: Received) -> Response:
        asked.set()
        await asyncio.to_thread(left.wait, 30)
        return JSONResponse({"text": "late"})

    remote.replies.append(never)

    async def main() -> None:
        model = OpenAI(remote.url)
        results = model.infer(SECOND, Request())
        waiting = asyncio.ensure_future(anext(results))
        assert await asyncio.to_thread(asked.wait, 30)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [one async for one in model.infer(SECOND, Request())] == [{"text": "Hello."}]
        await model.close()

    asyncio.run(main())
    left.set()


def closed_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def test_a_server_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """The client reads no address; the log does, once for many calls."""
    url = f"http://127.0.0.1:{closed_port()}/v1"
    model = OpenAI(url, model="base", timeout_s=1)
    waits: list[float] = []
    assert error_of(model, Request(), waits) == "The model server does not answer"
    assert error_of(model, Request(final=False)) == "The model server does not answer"
    assert waits
    (record,) = [record for record in caplog.records if record.name == "voxgate.models.openai"]
    assert record.getMessage() == f"the model server {url} does not answer: All connection attempts failed"


# --- the start ---


def test_the_only_model_of_the_server_is_taken(remote: TranscriptionServer) -> None:
    model = OpenAI(remote.url)
    warm_up(model)
    answers(model)
    assert [call.fields["model"] for call in remote.calls] == [["tiny"], ["tiny"]]


def test_without_a_warm_up_the_first_call_looks_for_the_model(remote: TranscriptionServer) -> None:
    assert answers(OpenAI(remote.url), Request(), Request()) == [[{"text": "Hello."}]] * 2
    assert [call.fields["model"] for call in remote.calls] == [["tiny"], ["tiny"]]
    assert len(remote.keys) == 3
    remote.models = JSONResponse({"data": []})
    assert error_of(OpenAI(remote.url)) == "The model of the model server is not configured"


def test_a_server_that_lists_no_models_needs_a_name(remote: TranscriptionServer) -> None:
    remote.models = JSONResponse({"detail": "Not Found"}, 404)
    warm_up(OpenAI(remote.url, model="base"))
    with pytest.raises(ModelLoadError, match=r"lists no models: the option 'model' is required$"):
        warm_up(OpenAI(remote.url))


def test_one_of_several_models_has_to_be_named(remote: TranscriptionServer) -> None:
    remote.models = JSONResponse({"data": [{"id": f"m{i}"} for i in range(12)]})
    with pytest.raises(ModelLoadError, match=r"'model' is required; it lists m0, m1, .*, m9 and 2 more$"):
        warm_up(OpenAI(remote.url))


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (JSONResponse({"error": {"message": "no model 'base'"}}, 404), r"\(404: no model 'base'\).* it lists tiny$"),
        (JSONResponse({}, 401), r"expects a key, and OPENAI_API_KEY is not set \(401\)"),
        (JSONResponse({"error": {"message": "only mp3"}}, 400), "answered 400: only mp3"),
        (JSONResponse({}, 500), "answered 500"),
        (RedirectResponse("https://example.com/v1"), "redirects to https://example.com/v1: expected that address"),
        (PlainTextResponse("It works!"), "sent no valid transcript: no valid answer"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should_ends_the_start(
    remote: TranscriptionServer, reply: Response, text: str
) -> None:
    remote.reply = reply
    with pytest.raises(ModelLoadError, match=rf"^model 'openai': the server {remote.url} .*{text}"):
        warm_up(OpenAI(remote.url, model="base"))


def test_no_server_ends_the_start() -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    with pytest.raises(ModelLoadError, match=f"^model 'openai': the server {url} does not answer: All connection att"):
        warm_up(OpenAI(url))


def test_another_address_of_the_server_ends_the_start(remote: TranscriptionServer) -> None:
    with pytest.raises(ModelLoadError, match=r"has no such path or model \(404.*; an address usually ends in /v1"):
        warm_up(OpenAI(remote.url.replace("/v1", "/v2"), model="base"))


# --- the key ---


def test_the_key_of_the_environment_is_sent_and_never_shown(
    remote: TranscriptionServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    model = OpenAI(remote.url, key_variable="MY_KEY")
    warm_up(model)
    answers(model)
    assert remote.keys == [f"Bearer {KEY}"] * 3
    texts = [record.getMessage() for record in caplog.records]
    for status in (400, 401, 403, 404, 500):
        remote.reply = JSONResponse({"error": {"message": f"wrong: {KEY}"}}, status)
        texts.append(error_of(model, Request(final=False)))
        with pytest.raises(ModelLoadError) as raised:
            warm_up(model)
        texts.append(str(raised.value))
    texts += [record.getMessage() for record in caplog.records]
    assert len(texts) > 10
    assert KEY not in "".join(texts) + repr(model)


def test_a_key_follows_no_redirect(remote: TranscriptionServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with transcription_server() as other:
        remote.reply = RedirectResponse(f"{other.url}/audio/transcriptions")
        remote.models = RedirectResponse(f"{other.url}/models")
        error_of(OpenAI(remote.url))
        with pytest.raises(ModelLoadError, match="redirects to"):
            warm_up(OpenAI(remote.url))
        assert (other.keys, other.calls) == ([], [])


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\x07b"])
def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(
        ValueError, match="visible ASCII characters in the environment variable OPENAI_API_KEY"
    ) as error:
        OpenAI("http://localhost/v1")
    assert key not in str(error.value)


def test_a_variable_that_was_named_has_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelLoadError, match="environment variable MY_KEY, which is not set"):
        load_model("openai:http://localhost/v1", {"key_variable": "MY_KEY"})


def test_a_key_in_plain_text_is_worth_a_warning(
    remote: TranscriptionServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    warm_up(OpenAI(remote.url))
    assert "unencrypted" not in caplog.text
    with pytest.raises(ModelLoadError):
        warm_up(OpenAI("http://voxgate.invalid/v1"))
    assert "the key of OPENAI_API_KEY goes unencrypted to http://voxgate.invalid/v1" in caplog.text


# --- served ---


def test_options_of_a_session_reach_the_model_server(remote: TranscriptionServer) -> None:
    with serving(f"openai:{remote.url}", {"model.language": "en"}) as server:
        assert (server.service.engine.kind, server.service.engine.concurrency) == ("async", 64)
        for options in ({"language": "de", "prompt": "Voxgate"}, {}):
            with Client(server.url("simple")) as client:
                client.send(start(options=options), bytes(32_000), STOP)
                assert {event["text"] for event in client.rest()} == {"Hello."}
        with Client(server.url("simple")) as client:
            client.send(start(options={"language": "german please"}))
            error = client.receive()
            assert error is not None
            assert error["message"].startswith("options.language: expected str that matches ")
    fields = [(call.fields["language"], call.fields.get("prompt")) for call in remote.calls[1:]]
    assert (["de"], ["Voxgate"]) in fields
    assert (["en"], None) in fields


def test_tokens_reach_the_client_while_the_model_server_decodes(remote: TranscriptionServer) -> None:
    go_on = threading.Event()

    async def body() -> Any:
        yield 'data: {"type": "transcript.text.delta", "delta": "Hel"}\n\n'
        assert await asyncio.to_thread(go_on.wait, 30)
        yield 'data: {"type": "transcript.text.done", "text": "Hello."}\n\n'

    with serving(f"openai:{remote.url}", {"model.stream": True, "vad.detector": "energy"}) as server:
        remote.reply = lambda received: StreamingResponse(body(), media_type="text/event-stream")
        with Client(server.url()) as client:
            # Silent for less than interims take to come: the one that comes is of the final's call.
            client.send(start(interim_results=True), encode(bursts((0.2, 0.6), length_s=0.65)), FLUSH)
            (*_, interim) = client.until("segment")
            go_on.set()
            assert (interim["text"], interim["is_final"]) == ("Hel", False)
            while interim["is_final"] is False:
                (*_, interim) = client.until("segment")
            assert interim["text"] == "Hello."
            client.send(STOP)
            client.rest()


def test_many_calls_wait_at_once_and_a_client_that_leaves_ends_its_own(remote: TranscriptionServer) -> None:
    n_clients = 24
    all_here, gone = threading.Event(), threading.Event()
    with serving(f"openai:{remote.url}", {"simple.min_chunk_ms": 1000}) as server:
        remote.calls.clear()

        async def reply(received: Received) -> Response:
            if len(remote.calls) == n_clients:
                all_here.set()
            await asyncio.to_thread(gone.wait, 30)
            return JSONResponse({"text": str(len(remote.calls))})

        remote.reply = reply
        clients = [Client(server.url("simple")).__enter__() for _ in range(n_clients)]
        for client in clients:
            client.send(start(), bytes(32_000), FLUSH)
        assert all_here.wait(30)
        clients.pop().__exit__(None, None, None)
        gone.set()
        for client in clients:
            (*_, segment) = client.until("segment")
            assert segment["text"] == str(n_clients)
            client.send(STOP)
            assert client.rest() == []
            client.__exit__(None, None, None)


# --- the options of the server ---


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("http://[::1]:80/v1/audio/transcriptions", "http://[::1]:80/v1"),
        ("http://gateway/team/openai", "http://gateway/team/openai"),
    ],
)
def test_addresses(url: str, base: str) -> None:
    assert OpenAI(url)._url == base


@pytest.mark.parametrize(
    ("spec", "options", "text"),
    [
        ("openai", {}, "the option 'url' is required"),
        ("openai:localhost:8000", {}, r"expected the address of a server .* as in openai:http://localhost:8000/v1"),
        ("openai:http://user:secret@host/v1", {}, "expected an address without a password"),
        ("openai:http://host/v1?key=secret", {}, "expected an address without"),
        ("openai:http://host:99999/v1", {}, "Port out of range"),
        ("openai:http://host", {"temperature": 3}, "temperature must be within 0..1, not 3"),
        ("openai:http://host", {"timeout_s": 0}, "timeout_s must be within 0.1..3600"),
        ("openai:http://host", {"response_format": "srt"}, 'must be one of "json", "verbose_json", got "srt"'),
        ("openai:http://host", {"stream": True, "response_format": "verbose_json"}, "stream needs response_format"),
        ("openai:http://host", {"lang": "de"}, "unknown option 'lang'"),
    ],
)
def test_wrong_options(spec: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelLoadError, match=text) as raised:
        load_model(spec, options)
    assert "secret" not in str(raised.value).partition(": ")[2]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModelLoadError, match=r"pip install 'voxgate\[openai\]'"):
        OpenAI("http://localhost")
