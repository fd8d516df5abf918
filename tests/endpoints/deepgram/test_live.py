"""``GET /v1/listen`` on a real socket: what Deepgram's clients send, and what they get."""

from __future__ import annotations

import contextlib
import json
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.uploads import wav
from helpers.wire import Client, bursts, encode, of_type, pieces, refused, start, stream
from helpers.wires import TALK, TWO, failing, words_of_length
from voxgate.endpoints.deepgram.live import DeepgramWire
from voxgate.endpoints.deepgram.query import parse_listen
from voxgate.errors import InvalidMessage
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Inactive, Progress, Segment
from voxgate.protocol.output import Output

RAW = "encoding=linear16&sample_rate=16000"
CLOSE = {"type": "CloseStream"}
FINALIZE = {"type": "Finalize"}


def url(server, query: str = RAW) -> str:
    return f"ws://127.0.0.1:{server.port}/v1/listen?{query}"


def listen(address: str, *messages, **options):
    with Client(address, **options) as client:
        client.send(*messages, CLOSE)
        answers = client.rest()
        assert (client.close_code, client.close_reason) == (1000, ""), answers
    return answers


def finals(answers):
    return [answer for answer in of_type(answers, "Results") if answer["is_final"]]


def text_of(answer):
    return answer["channel"]["alternatives"][0]["transcript"]


def test_a_session(serve):
    server = serve(words_of_length)
    with Client(url(server, RAW + "&vad_events=true"), additional_headers={"Authorization": "Token any"}) as client:
        request_id = client.socket.response.headers["dg-request-id"]
        assert str(uuid.UUID(request_id)) == request_id
        client.send({"type": "KeepAlive"}, *pieces(TALK, 640), CLOSE)
        *answers, metadata = client.rest()
        assert (client.close_code, client.close_reason) == (1000, "")
    native = [event for event in stream(server.url(), start(), *pieces(TALK, 640)) if event["type"] == "segment"]
    results = of_type(answers, "Results")
    assert [text_of(answer) for answer in results] == [event["text"] for event in native]
    assert [(answer["start"], answer["duration"]) for answer in results] == [
        (event["start_time"], pytest.approx(event["end_time"] - event["start_time"])) for event in native
    ]
    assert all(answer["is_final"] and answer["speech_final"] and not answer["from_finalize"] for answer in results)
    assert all(answer["channel_index"] == [0, 1] for answer in results)
    model = metadata["models"][0]
    info = {"name": "words_of_length", "version": metadata["model_info"][model]["version"], "arch": "voxgate"}
    assert results[0]["metadata"] == {"request_id": request_id, "model_info": info, "model_uuid": model}
    started = of_type(answers, "SpeechStarted")
    assert [(event["channel"], event["timestamp"]) for event in started] == [
        ([0], event["start_time"]) for event in native
    ]
    assert {**metadata, "created": None} == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": "",
        "created": None,
        "duration": 6.0,
        "channels": 1,
        "models": [model],
        "model_info": {model: info},
    }


def test_words_have_the_times_of_the_session(serve):
    (first, _) = finals(listen(url(serve(words_of_length)), *pieces(TALK, 640)))
    words = first["channel"]["alternatives"][0]["words"]
    assert [(word["word"], word["confidence"]) for word in words] == [("some", 0.5), (words[1]["word"], 0.5)]
    assert words[0]["start"] == pytest.approx(first["start"] + 0.1, abs=0.002)
    assert first["channel"]["alternatives"][0]["confidence"] == 0.5


def test_interims_and_revised_texts(serve):
    """Each interim replaces the one before it, whatever its text; one final ends them."""
    server = serve(lambda audio: {"text": str(round(len(audio) / 16) * 7919)})
    audio = encode(bursts((0.5, 2.5), length_s=4.5))
    with Client(url(server, RAW + "&interim_results=true")) as client:
        answers = []
        for index, piece in enumerate(pieces(audio, 16_000)):
            client.send(piece)
            if index in (3, 5):
                answers += client.until("Results")
        client.send(CLOSE)
        answers += client.rest()
    results = of_type(answers, "Results")
    assert [text_of(answer) for answer in results] == [
        str(round(answer["duration"] * 1000) * 7919) for answer in results
    ]
    *interims, final = results
    assert len({text_of(answer) for answer in interims}) == len(interims) >= 1
    flags = [(answer["is_final"], answer["speech_final"], answer["start"]) for answer in interims]
    assert set(flags) == {(False, False, final["start"])}
    assert (final["is_final"], final["speech_final"]) == (True, True)


def test_finalize_is_answered_by_the_final_that_it_causes(serve):
    with Client(url(serve(words_of_length))) as client:
        client.send(*pieces(TALK[: 2 * 16_000 * 3 // 2], 640), FINALIZE)  # half a second of speech, not over
        (answer,) = client.until("Results")
        assert (answer["is_final"], answer["from_finalize"], bool(text_of(answer))) == (True, True, True)
        client.send(FINALIZE, FINALIZE)
        for _ in range(2):
            (answer,) = client.until("Results")
            assert (answer["is_final"], answer["from_finalize"], text_of(answer)) == (True, True, "")
        client.send(CLOSE)
        assert [answer["type"] for answer in client.rest()] == ["Metadata"]


def test_two_channels(serve):
    server = serve(words_of_length)
    answers = finals(listen(url(server, RAW + "&channels=2&multichannel=true"), *pieces(TWO, 1280)))
    native = of_type(stream(server.url(), start(channels=2), *pieces(TWO, 1280)), "segment")
    for channel in (0, 1):
        mine = [answer for answer in answers if answer["channel_index"] == [channel, 2]]
        assert [text_of(answer) for answer in mine] == [
            event["text"] for event in native if event["channel"] == channel
        ]
        assert len(mine) == 1


@pytest.mark.parametrize("query", ["encoding=mulaw&sample_rate=16000", "encoding=linear32&sample_rate=16000"])
def test_other_encodings(serve, query):
    samples = np.frombuffer(TALK, "<i2")
    data = (samples / 32768).astype("<f4").tobytes() if "linear32" in query else mulaw(samples)
    answers = finals(listen(url(serve(words_of_length), query), *pieces(data, 640)))
    assert len(answers) == 2


def mulaw(samples: np.ndarray) -> bytes:
    """G.711, by the formula."""
    magnitude = np.minimum(np.abs(samples.astype(int)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    return (~(((samples < 0) * 128) | (exponent << 4) | mantissa) & 255).astype(np.uint8).tobytes()


def test_an_utterance_end(serve):
    silence = bytes(2 * 16_000 * 3)
    answers = listen(url(serve(words_of_length), RAW + "&utterance_end_ms=1000"), *pieces(TALK + silence, 640))
    ends = of_type(answers, "UtteranceEnd")
    assert [event["channel"] for event in ends] == [[0, 1]] * len(ends)
    assert ends[-1]["last_word_end"] == pytest.approx(finals(answers)[-1]["start"] + 0.3, abs=0.002)


@pytest.mark.parametrize(("query", "late_s"), [("", 1.0), ("&utterance_end_ms=1000", 0.25)])
def test_an_utterance_end_waits_for_no_event_but_progress(query, late_s):
    wire = DeepgramWire(parse_listen(f"{RAW}{query}".encode(), min_silence_ms=300), "id", "model")
    assert wire.progress_s == late_s
    said = Output.of({"text": "a"})
    for event in (
        Active(0.0, 0, 0),
        Inactive(1.0, 0, 0),
        Segment(0.0, 1.0, True, said, 0, 0),
        Progress(1.9, 1.9, 0, 0),
    ):
        assert not any("UtteranceEnd" in message for message in wire.encode(event))
    assert len(wire.encode(Progress(2.0, 2.0, 0, 0))) == bool(query)


def test_a_failed_utterance_is_an_error_and_an_empty_final(serve):
    answers = listen(url(serve(failing, **{"inference.warm_up": False})), *pieces(TALK, 640))
    assert [answer["type"] for answer in answers] == ["Error", "Results", "Error", "Results", "Metadata"]
    assert answers[0] == {
        "type": "Error",
        "variant": "inference_failed",
        "description": "not this one",
        "message": "not this one",
    }
    assert [(text_of(answer), answer["speech_final"]) for answer in finals(answers)] == [("", True)] * 2


def test_a_model_without_a_text_is_refused(serve):
    status, _, body = refused(url(serve()))
    assert (status, body["err_code"]) == (400, "Bad Request")
    assert "answers without a text, and this API carries words" in body["err_msg"]


def test_messages_that_nobody_means(serve):
    server = serve(words_of_length, **{"limits.invalid_messages": 3})
    with Client(url(server)) as client:
        client.send("{", {"type": "Nonsense"}, {"type": "Configure"}, "[]")
        answers = client.rest()
        assert (client.close_code, client.close_reason) == (1008, "DATA-0000: too many invalid messages")
    assert [answer["type"] for answer in answers] == ["Error", "Error", "ConfigureFailure", "Error"]
    assert answers[0]["variant"] == "SchemaError"


def test_a_client_that_is_silent(serve):
    with Client(url(serve(words_of_length, **{"limits.idle_timeout_s": 0.1}))) as client:
        (error,) = client.rest()
        assert (client.close_code, client.close_reason) == (1011, "NET-0001: timeout")
    assert error["variant"] == "timeout"


def test_refusals_are_in_deepgrams_form(serve):
    server = serve(words_of_length, **{"auth.tokens": "good"})
    status, headers, body = refused(url(server), additional_headers={"Authorization": "Token bad"})
    assert (status, headers["www-authenticate"], headers["dg-error"]) == (401, "Token", body["err_msg"])
    assert body == {"err_code": "INVALID_AUTH", "err_msg": body["err_msg"], "request_id": headers["dg-request-id"]}
    assert refused(url(server))[0] == 401  # no token comes later, on this API
    status, headers, body = refused(url(server, "encoding=x"), additional_headers={"Authorization": "Token good"})
    assert (status, body["err_code"]) == (400, "Bad Request")
    assert body["err_msg"] == 'encoding: expected one of linear16, linear32, mulaw, alaw, got "x"'


@pytest.mark.parametrize("options", [
    {"additional_headers": {"Authorization": "Token good"}},
    {"additional_headers": {"Authorization": "Bearer good"}},
    {"subprotocols": ["token", "good"]},
    {"subprotocols": ["bearer", "good"]},
])  # fmt: skip
def test_keys(serve, options):
    with Client(url(serve(words_of_length, **{"auth.tokens": "good"})), **options) as client:
        assert client.socket.subprotocol == options.get("subprotocols", [None])[0]
        client.send(CLOSE)
        assert [answer["type"] for answer in client.rest()] == ["Metadata"]


@pytest.mark.parametrize("settings", [{"limits.streams": 1}, {"limits.streams_per_address": 1}])
def test_a_full_server_says_come_back(serve, settings):
    server = serve(words_of_length, **settings)
    with Client(server.url()):
        status, headers, body = refused(url(server))
    assert status == 503
    assert 4 <= int(headers["retry-after"]) <= 9
    assert body["err_code"] in ("SERVICE_UNAVAILABLE", "TOO_MANY_REQUESTS")


def test_a_page_of_another_origin(serve):
    status, _, body = refused(url(serve(words_of_length)), origin="https://elsewhere.example")
    assert (status, body["err_code"]) == (403, "INSUFFICIENT_PERMISSIONS")


def test_it_can_be_switched_off(serve):
    server = serve(words_of_length, **{"endpoints.deepgram": False})
    assert refused(url(server))[0] == 404


@pytest.mark.parametrize(
    "query", ["encoding=linear16&sample_rate=1", "encoding=linear16&sample_rate=16000&channels=99&multichannel=true"]
)
def test_formats_that_the_server_does_not_take_are_refused_before_the_upgrade(serve, query):
    status, _, body = refused(url(serve(words_of_length), query))
    assert status == 400
    assert body["err_msg"].startswith("format.")


def test_a_container_says_its_format_itself(serve):
    server = serve(words_of_length)
    answers = listen(url(server, "interim_results=false"), FINALIZE, *pieces(wav(TALK), 640))
    raw = listen(url(server), *pieces(TALK, 640))
    assert [text_of(answer) for answer in finals(answers)] == ["", *[text_of(answer) for answer in finals(raw)]]
    assert finals(answers)[0]["from_finalize"]
    assert answers[-1]["duration"] == 6.0


def test_both_channels_of_a_container(serve):
    server = serve(words_of_length)
    with Client(url(server, "multichannel=true")) as client:
        client.send(*pieces(wav(TWO, channels=2), 1280))
        answers = [*client.until("Results"), *client.until("Results")]  # before the flush, which would hold them
        client.send(FINALIZE, CLOSE)
        answers += client.rest()
    spoken = [(answer["channel_index"], bool(text_of(answer)), answer["from_finalize"]) for answer in finals(answers)]
    assert sorted(spoken) == [
        ([0, 2], False, True),
        ([0, 2], True, False),
        ([1, 2], False, True),
        ([1, 2], True, False),
    ]
    assert answers[-1]["channels"] == 2


def test_what_is_no_container_ends_the_stream(serve):
    with Client(url(serve(words_of_length), "")) as client:
        client.send(bytes(range(256)) * 400)
        (error,) = client.until("Error")
        client.send(bytes(1000))
        client.rest()
        assert client.close_code == 1008
        assert client.close_reason == f"DATA-0000: {error['variant']}"
    assert error["variant"] in ("invalid_media", "unsupported_media")


def test_a_large_message(serve):
    with Client(url(serve(words_of_length, **{"limits.message_bytes": 1024}))) as client:
        client.send(json.dumps({"type": "x" * 2000}))
        client.rest()
        assert client.close_code == 1009


@given(st.text() | st.dictionaries(st.sampled_from(["type", "x"]), st.text() | st.integers()).map(json.dumps))
def test_any_text_is_read_or_refused(text):
    wire = DeepgramWire(parse_listen(RAW.encode(), min_silence_ms=300), "id", "model")
    with contextlib.suppress(InvalidMessage):
        assert len(wire.read(text)) == 1


def test_every_close_has_a_code_and_a_short_text():
    wire = DeepgramWire(parse_listen(RAW.encode(), min_silence_ms=300), "id", "model")
    closes = [Close(reason, "x" * 100) for reason in CloseReason]
    assert all(wire.code_of(close) in (1000, 1001, 1008, 1009, 1011, 1013) for close in closes)
    assert all(len(wire.reason_of(close).encode()) <= 123 for close in closes)
