"""What models may take and return, through a real server."""

from __future__ import annotations

import json
import threading
import urllib.request
from typing import Any

import msgspec
import numpy as np
import pytest

from helpers.contract_models import Counting, Mixing, Polyglot, Slow
from helpers.wire import STOP, Client, bursts, encode, of_type, pieces, start, stream
from voxgate.errors import InferenceError, ModelLoadError
from voxgate.models.base import Batch, Model

TALK = encode(bursts((0.5, 1.5), length_s=2.5))


class Reusing(Model):
    """Returns the same arrays each time, which is allowed with one thread."""

    threads = 1

    def __init__(self) -> None:
        self.one = np.zeros(300, np.float32)
        self.several = np.zeros((16, 300), np.float32)

    def infer(self, audio: np.ndarray) -> dict[str, Any]:
        self.one[:] = audio[0]
        return {"heard": self.one}

    def infer_batch(self, batch: Batch) -> list[dict[str, Any]]:
        for row, audio in zip(self.several, batch, strict=False):
            row[:] = audio[0]
        return [{"heard": row} for row in self.several[: len(batch)]]


@pytest.mark.parametrize("max_batch_size", [1, 16])
def test_a_buffer_that_a_model_reuses_never_reaches_another_client(serve, max_batch_size):
    settings = {"simple.min_chunk_ms": 100, "simple.max_chunk_s": 0.1, "inference.max_batch_size": max_batch_size}
    server = serve(Reusing(), **settings)
    answers: dict[int, list[dict[str, Any]]] = {}

    def talk(number: int) -> None:
        audio = encode(np.full(48_000, number / 8, np.float32), "f32")
        answers[number] = stream(server.url("simple"), start(encoding="f32"), *pieces(audio, 6400))

    clients = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    heard = {number: {value for event in answers[number] for value in event["heard"]} for number in range(8)}
    assert heard == {number: {number / 8} for number in range(8)}
    assert {len(events) for events in answers.values()} == {30}


@pytest.mark.parametrize("answer", ["ja", {"text": "ja"}])
def test_a_text_is_a_result(serve, answer):
    events = stream(serve(lambda audio: answer).url(), start(), TALK)
    assert [(event["is_final"], event["text"]) for event in of_type(events, "segment")] == [(True, "ja")]


def test_nothing_to_say_is_a_segment_without_output_and_no_interim(serve):
    events = stream(serve(lambda audio: None).url(), start(interim_results=True, notices=True), *pieces(TALK, 3200))
    (segment,) = of_type(events, "segment")
    assert segment.keys() == {"type", "start_time", "end_time", "is_final", "segment_id", "channel"}
    assert segment["is_final"] is True
    (finished,) = of_type(events, "finished")
    assert (finished["results"], finished["errors"]) == (1, 0)


@pytest.mark.parametrize("answer", [{"type": 1}, {"segment_id": 1}, [1], {"x": object()}], ids=range(4))
def test_a_result_that_cannot_be_sent_counts_as_an_error(serve, answer, caplog):
    server = serve(lambda audio: answer, **{"inference.start_anyway": True})
    caplog.clear()
    two = encode(bursts((0.5, 1.5), (3.0, 4.0), length_s=5.0))
    (finished,) = of_type(stream(server.url(), start(notices=True), *pieces(two, 3200)), "finished")
    assert (finished["results"], finished["errors"]) == (0, 2)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_a_key_of_the_protocol_is_free_in_sessions_that_did_not_ask_for_it(serve):
    events = stream(serve(lambda audio: {"segment_id": "mine", "stable_text": 1}).url(), start(), TALK)
    (segment,) = of_type(events, "segment")
    assert (segment["segment_id"], segment["stable_text"]) == ("mine", 1)


@pytest.mark.parametrize("isolation", ["threads", "process"])
def test_a_server_whose_results_cannot_be_sent_does_not_start(serve, isolation):
    settings = {"inference.isolation": isolation, "inference.processes": 1}
    server = serve("helpers.contract_models:Wrong", wait=False, **settings)
    with pytest.raises(ModelLoadError) as raised:
        server.wait_started()
    assert str(raised.value) == (
        "model 'Wrong': the trial call with a second of noise gave a bad result: the key \"channel\" of the result is"
        " reserved; correct the model, or start the server with inference.start_anyway"
    )
    serve("helpers.contract_models:Wrong", **{"inference.start_anyway": True, **settings})


def test_a_model_without_an_answer_to_noise_starts(serve):
    def model(audio):
        raise InferenceError("no speech")

    serve(model)


def test_wrong_results_of_infer_batch_end_the_start_too(serve):
    class Short(Reusing):
        def infer_batch(self, batch):
            return []

    server = serve(Short(), wait=False)
    with pytest.raises(ModelLoadError, match="expected infer_batch to return 2 results, one per item, not 0"):
        server.wait_started()


# --- requests and options ---


@pytest.fixture(params=["threads", "process"])
def polyglot(serve, request):
    settings = {"inference.isolation": request.param, "inference.processes": 1}
    return serve("helpers.contract_models:Polyglot", **settings)


def test_a_model_gets_the_request_of_each_call(polyglot):
    audio = encode(np.stack([bursts((0.5, 1.5), length_s=2.5)] * 2))
    message = start(channels=2, interim_results=True, notices=True, options={"language": "en", "hotwords": ["a"]})
    events = stream(polyglot.url(), message, *pieces(audio, 12_800))
    (started,) = of_type(events, "started")
    segments = of_type(events, "segment")
    assert {(segment["is_final"], segment["channel"]) for segment in segments} >= {(True, 0), (True, 1)}
    for segment in segments:
        asked = segment["asked"]
        assert asked.pop("start_s") == pytest.approx(segment["start_time"], abs=1e-3)
        assert asked.pop("end_s") == pytest.approx(segment["end_time"], abs=1e-3)
        assert asked == {
            "options": {"language": "en", "hotwords": ["a"]},
            "channel": segment["channel"],
            "final": segment["is_final"],
            "session_id": started["session_id"],
            "identity": None,
            "sample_rate": 16_000,
        }


def test_a_session_without_options_has_the_defaults_of_the_model(polyglot):
    (segment,) = of_type(stream(polyglot.url(), start(), TALK), "segment")
    assert segment["asked"]["options"] == {"language": "de", "hotwords": []}


def test_wrong_options_open_no_session(polyglot):
    with Client(polyglot.url()) as client:
        client.send(start(options={"language": "fr"}), start(options={"langage": "en"}), start(options=[]), STOP)
        errors = [(event["code"], event["message"]) for event in client.rest()]
    assert errors == [
        ("invalid_start", 'options.language: expected one of "de", "en", got "fr"'),
        (
            "invalid_start",
            "options.langage: unknown, got \"en\"; expected one of language, hotwords; did you mean 'language'?",
        ),
        ("invalid_message", "options: expected object or null, got array"),
    ]


def test_options_that_only_the_model_can_judge(serve):
    wrong, text = start(options={"hotwords": ["only", "here"]}), "options: the model knows no such hotwords"
    with Client(serve(Polyglot()).url()) as client:
        client.send(wrong, STOP)
        assert [(event["code"], event["message"]) for event in client.rest()] == [("invalid_start", text)]
    elsewhere = serve("helpers.contract_models:Polyglot", **{"inference.isolation": "process"})
    events = stream(elsewhere.url(), wrong, TALK)
    assert [(event["code"], event["message"]) for event in of_type(events, "error")] == [("inference_failed", text)]


def test_options_go_with_the_start_that_audio_resumes(serve):
    pause = {"request": "stop", "disconnect": False}
    message = start(options={"language": "en"})
    segments = of_type(stream(serve(Polyglot()).url(), message, TALK, pause, TALK), "segment")
    assert [segment["asked"]["options"]["language"] for segment in segments] == ["en", "en"]


def test_the_schema_is_in_started_and_in_the_description_of_the_server(polyglot):
    (started,) = of_type(stream(polyglot.url(), start(notices=True)), "started")
    with urllib.request.urlopen(polyglot.http("/api/v1/info"), timeout=30) as response:
        described = json.load(response)["options"]
    assert started["options_schema"] == described
    assert described["properties"]["language"] == {"enum": ["de", "en"], "default": "de"}


def test_a_model_without_options_refuses_them(serve):
    with Client(serve().url()) as client:
        client.send(start(options={"language": "de"}), start(options={}, notices=True), STOP)
        refused, started, *_ = client.rest()
    assert refused["message"] == "options: model 'count' takes none, got \"language\""
    assert "options_schema" not in started


@pytest.mark.parametrize("route", ["simple", "segmented"])
@pytest.mark.parametrize(("kind", "mixed"), [(Slow, False), (Mixing, True)])
def test_calls_of_different_options_share_a_batch_only_in_a_model_that_handles_them(serve, kind, mixed, route):
    model = kind()
    server = serve(model, **{"simple.min_chunk_ms": 1000, "inference.threads": 1})
    first = Client(server.url(route))
    others = [Client(server.url(route)) for _ in range(8)]
    with first:
        first.send(start(), TALK, {"request": "stop", "disconnect": True})
        assert model.entered.wait(30)
        for number, client in enumerate(others):
            client.__enter__()
            client.send(start(options={"language": ("de", "en")[number % 2]}), TALK, STOP)
        deadline = threading.Event()
        while server.service.scheduler.depths()["final"] < 8 and not deadline.wait(0.01):
            pass
        model.release.set()
        events = [client.rest() for client in others]
        first.rest()
    for client in others:
        client.__exit__(None, None, None)
    batches = [tuple(segment["together"]) for one in events for segment in of_type(one, "segment")]
    assert any(len(set(together)) > 1 for together in batches) == mixed
    assert any(len(together) > 1 for together in batches)


def test_a_stateful_model_is_opened_with_the_request_of_its_channel(serve):
    audio = encode(np.zeros((2, 8000)))
    events = stream(serve(Counting()).url("stateful"), start(channels=2, options={"language": "en"}), audio)
    seen = {(event["channel"], event["language"], event["of"]) for event in of_type(events, "segment")}
    assert seen == {(0, "en", 0), (1, "en", 1)}


NAMES = {"good-token": "Anna"}


def name_of(token: str) -> str | bool:
    return NAMES.get(token, False)


@pytest.mark.parametrize("in_start", [True, False])
def test_the_name_that_the_access_hook_returns_reaches_the_model(serve, in_start, caplog):
    caplog.set_level("INFO", "voxgate.session")
    settings = {"auth.hook": f"{__name__}:name_of", "auth.in_start": in_start}
    server = serve(Counting(), **settings)
    headers = {} if in_start else {"additional_headers": {"Authorization": "Bearer good-token"}}
    with Client(server.url("stateful"), **headers) as client:
        client.send(start(**({"token": "good-token"} if in_start else {})), bytes(32_000), STOP)
        assert {event["who"] for event in of_type(client.rest(), "segment")} == {"Anna"}
    fields = [vars(record).get("fields", {}) for record in caplog.records if record.getMessage() == "session over"]
    assert [one["identity"] for one in fields] == ["Anna"]


# --- text ---


def words(audio: np.ndarray) -> str:
    return ""


@pytest.mark.parametrize(
    ("model", "gives_text"),
    [
        (words, True),
        (lambda audio: {"text": ""}, True),
        (lambda audio: {"rms": 1.0}, False),
        (lambda audio: {}, None),
        (lambda audio: None, None),
        (type("Told", (Reusing,), {"gives_text": True})(), True),
        ("helpers.contract_models:Polyglot", False),
    ],
    ids=range(7),
)
def test_whether_a_model_gives_text_is_declared_or_found_out(serve, model, gives_text):
    settings = {"inference.isolation": "process", "inference.processes": 1} if isinstance(model, str) else {}
    assert serve(model, **settings).service.gives_text is gives_text


def test_a_struct_with_its_own_names_is_sent_with_them(serve):
    class Said(msgspec.Struct, rename="camel"):
        spoken_text: str

    (segment,) = of_type(stream(serve(lambda audio: Said("ja")).url(), start(), TALK), "segment")
    assert segment["spokenText"] == "ja"
