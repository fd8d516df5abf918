"""docs/schema: valid, what the code makes, and true of the parser and of the server."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from helpers.wire import FLUSH, KEEP_ALIVE, STOP, Client, bursts, encode, start
from tools.reference.asyncapi import asyncapi
from tools.reference.pages import pages
from tools.reference.schema import EVENTS, REQUESTS, events, requests
from voxgate import Model
from voxgate.config import SETTINGS
from voxgate.errors import InferenceError, InvalidMessage, InvalidStart
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    Started,
)
from voxgate.protocol.formats import check_format
from voxgate.protocol.json_codec import encode_event, parse_request
from voxgate.protocol.machine import ROUTES
from voxgate.protocol.requests import Start, VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES
from voxgate.vad.config import VadConfig

ROOT = Path(__file__).parents[3]
ASYNCAPI = asyncapi()
CLIENT = jsonschema.Draft202012Validator(requests())
SERVER = jsonschema.Draft202012Validator(events())


def test_nothing_else_is_in_the_folder():
    assert {f"schema/{path.name}" for path in (ROOT / "docs" / "schema").iterdir()} == {
        name for name in pages() if name.startswith("schema/")
    }


# ------------------------------------------------------------------------------------------ the documents themselves


@pytest.mark.parametrize("document", [requests(), events()])
def test_the_schemas_are_valid(document):
    jsonschema.Draft202012Validator.check_schema(document)


def official() -> jsonschema.protocols.Validator:
    """The schema of AsyncAPI 3.0.0 by its makers, from their package @asyncapi/specs, without its white space."""
    schema = json.loads((ROOT / "tests" / "data" / "asyncapi" / "3.0.0.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema)


def test_the_asyncapi_document_is_valid():
    official().validate(ASYNCAPI)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["channels"]["simple"].update(address=8080),
        lambda document: document["operations"]["simple.send"].update(action="publish"),
        lambda document: document["components"]["securitySchemes"]["bearer"].pop("scheme"),
        lambda document: document["components"]["schemas"]["Active"]["properties"]["time"].update(type="seconds"),
        lambda document: document.pop("info"),
    ],
)
def test_the_official_schema_would_see_what_is_wrong(spoil):
    document = asyncapi()
    spoil(document)
    assert not official().is_valid(document)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for entry in value.values() for found in references(entry)]
    return [found for entry in value for found in references(entry)] if isinstance(value, list) else []


@pytest.mark.parametrize("document", [ASYNCAPI, requests(), events()])
def test_every_reference_leads_somewhere(document):
    assert references(document)
    for reference in references(document):
        found = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found


def test_the_examples_are_messages():
    for name, message in ASYNCAPI["components"]["messages"].items():
        for example in message.get("examples", []):
            (CLIENT if "request" in example["payload"] else SERVER).validate(example["payload"])
            of_name(name).validate(example["payload"])


def test_every_channel_has_every_request_and_both_directions():
    for route in ROUTES:
        messages = ASYNCAPI["channels"][route]["messages"]
        assert {kind.__name__ for kind in REQUESTS} | {"Audio"} <= set(messages)
        said = {
            reference["$ref"].rpartition("/")[2]
            for direction in ("receive", "send")
            for reference in ASYNCAPI["operations"][f"{route}.{direction}"]["messages"]
        }
        assert said == set(messages)


# -------------------------------------------------------------------------------------------------- what a client says


def of_name(name: str) -> jsonschema.protocols.Validator:
    """A message of the AsyncAPI document as a client that is made from it would check it."""
    return jsonschema.Draft7Validator(
        {"$ref": f"#/components/schemas/{name}", "components": {"schemas": ASYNCAPI["components"]["schemas"]}}
    )


def refusal(text: str) -> str | None:
    """Why a server with the widest limits does not take a request; None: it does."""
    try:
        request = parse_request(text)
        if isinstance(request, Start):
            check_format(request.format, max_channels=SETTINGS["limits.channels"].maximum)
            VadConfig().merged(request.vad)
    except (InvalidMessage, InvalidStart) as error:
        return str(error)
    return None


# 16000.0 is an integer to JSON Schema: see test_what_only_the_parser_refuses.
broken = st.floats(-1e6, 1e6).filter(lambda value: not value.is_integer())
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | broken | st.text('aé\n"', max_size=4)
json_values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)


def fields(required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> Any:
    """Mostly right, with a wrong value here, a missing or an unknown field there."""
    known = st.fixed_dictionaries(required, optional=optional)
    unknown = st.dictionaries(st.sampled_from(["x", "Request", "formats"]), json_values, max_size=1)
    wrong = st.dictionaries(st.sampled_from([*required, *optional]), json_values, max_size=1)
    spoiled = st.tuples(known, wrong).map(lambda both: {**both[0], **both[1]})
    missing = st.tuples(known, st.sampled_from(sorted(required))).map(
        lambda both: {name: value for name, value in both[0].items() if name != both[1]}
    )
    return st.tuples(known | known | spoiled | missing, unknown).map(lambda both: {**both[1], **both[0]})


formats = fields(
    {
        "channels": st.sampled_from([0, 1, 8, 64, 65]),
        "sample_rate": st.sampled_from([3999, 4000, 16_000, 48_000, 192_000, 192_001]),
        "bit_depth": st.sampled_from([8, 16, 24, 32, 64, 12]),
        "is_float": st.booleans(),
    },
    {"encoding": st.sampled_from([None, "mulaw", "alaw", "opus"])},
)
vad_options = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.sampled_from(VAD_RANGES[name][:2])
        | (st.integers(-1, 11_000) if name.endswith("_ms") else st.floats(-1, 301))
        for name in VadOptions.__struct_fields__
    },
)
starts = fields(
    {"request": st.just("start"), "format": formats},
    {
        "interim_results": st.booleans(),
        "trace_id": st.none() | st.text("0af-", max_size=55),
        "vad": st.none() | vad_options,
        "notices": st.booleans(),
        "token": st.none() | st.text("aZ", max_size=5),
        "probabilities": st.booleans(),
        "segmentation": st.sampled_from(["auto", "manual", "semi"]),
        "stability": st.booleans(),
        "eager": st.booleans(),
    },
)
others = fields(
    {"request": st.sampled_from(["stop", "flush", "clear", "keep_alive", "pause"])}, {"disconnect": st.booleans()}
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(starts | others | json_values)
def test_what_the_schema_allows_is_taken_and_what_it_does_not_is_refused(message):
    why = refusal(json.dumps(message))
    if CLIENT.is_valid(message):
        # One rule is about two fields, and JSON Schema compares none: silence is at most as probable as speech.
        assert why is None or "negative_threshold must be" in why
    else:
        assert why is not None


def edges() -> list[tuple[str, float, float]]:
    """Every number with a range: its place in a start, and both ends."""
    limits = {
        "format.channels": (1, SETTINGS["limits.channels"].maximum),
        "format.sample_rate": (
            SETTINGS["limits.min_sample_rate"].minimum,
            SETTINGS["limits.max_sample_rate"].maximum,
        ),
    }
    ranges = {f"vad.{name}": VAD_RANGES[name][:2] for name in VadOptions.__struct_fields__}
    return [(place, *both) for place, both in {**limits, **ranges}.items()]


@pytest.mark.parametrize(("place", "lowest", "highest"), edges())
def test_ranges_end_where_those_of_the_server_do(place, lowest, highest):
    section, _, name = place.partition(".")
    step = 1 if isinstance(lowest, int) and isinstance(highest, int) else 0.001
    for value, is_allowed in ((lowest - step, False), (lowest, True), (highest, True), (highest + step, False)):
        message = start()
        message.setdefault(section, {})[name] = value
        if name == "negative_threshold":
            message["vad"]["threshold"] = 0.99
        assert CLIENT.is_valid(message) is is_allowed, value
        assert (refusal(json.dumps(message)) is None) is is_allowed, value


GOOD = '{"request":"start","format":{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # A schema is about values: how they were written, and what came twice, it does not see.
        (GOOD.replace("16000", "16000.0"), "expected int"),
        (GOOD.replace('"channels":1', '"channels":1e0'), "expected int"),
        ('{"request":"flush","request":"stop"}', "expected once"),
        # Nor does it compare two values.
        (GOOD[:-1] + ',"vad":{"threshold":0.2,"negative_threshold":0.3}}', "negative_threshold must be"),
        # Half of a surrogate pair is no text.
        ('{"request":"start","trace_id":"\\ud800",' + GOOD[19:], "got"),
    ],
)
def test_what_only_the_parser_refuses(text, says):
    assert CLIENT.is_valid(json.loads(text))
    assert says in (refusal(text) or "")


# ------------------------------------------------------------------------------------------------ what the server says

times = st.floats(0, 1e6)
channel = st.integers(0, 63)
outputs = st.dictionaries(
    st.text(max_size=4).filter(lambda key: key not in ("type", "channel", "start_time", "end_time", "is_final")),
    json_values,
    max_size=3,
)
codes = st.sampled_from(SERVER.schema["$defs"]["Error"]["properties"]["code"]["enum"])
any_event = st.one_of(
    st.builds(Active, times, channel),
    st.builds(Inactive, times, channel),
    st.builds(Error, st.text(max_size=9), codes, channel),
    st.builds(Segment, times, times, st.booleans() | st.just(UNSET), outputs, channel),
    st.builds(Data, outputs, channel),
    st.builds(Probabilities, times, st.floats(1e-4, 1), st.lists(st.floats(0, 1), max_size=3), channel),
    st.builds(
        Started,
        st.text("0af", max_size=32),
        st.text(max_size=9),
        st.dictionaries(st.text("ab"), st.floats(0, 1e9) | st.integers(0, 2**40), max_size=2),
        trace_id=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
    ),
    st.builds(Progress, times, times, times, times),
    st.builds(Finished, times, times, st.integers(0, 2**40), st.integers(0, 2**40)),
    st.builds(Draining, times),
)


@settings(deadline=None)
@given(any_event)
def test_whatever_is_encoded_is_valid(event):
    message = json.loads(encode_event(event))
    SERVER.validate(message)
    assert (
        len(
            [
                name
                for name in SERVER.schema["$defs"]
                if SERVER.evolve(schema=SERVER.schema["$defs"][name]).is_valid(message)
            ]
        )
        == 1
    )


@pytest.mark.parametrize(
    "message",
    [
        {"type": "active", "time": 0.1},
        {"type": "active", "time": -0.1, "channel": 0},
        {"type": "error", "message": "", "code": "", "channel": 0},
        {"type": "segment", "start_time": 0.0, "end_time": 1.0, "is_final": None, "channel": 0},
        {"type": "started", "session_id": "a", "model": "b", "limits": {}, "channel": 0, "trace_id": None},
        {"type": "unheard_of", "channel": 0},
        [],
    ],
)
def test_what_no_server_says_is_not_valid(message):
    assert not SERVER.is_valid(message)


class Talker(Model):
    """Serves every route; refuses its second piece of audio, so that there is an error too."""

    def __init__(self) -> None:
        self.n_calls = 0
        self.lock = threading.Lock()

    def infer(self, audio: np.ndarray) -> dict[str, Any]:
        with self.lock:
            self.n_calls += 1
            if self.n_calls == 2:
                raise InferenceError("too much echo")
        return {"count": len(audio), "peaks": np.zeros(2, np.float32), "level": float("nan"), "words": [{"word": "a"}]}

    def step(self, audio: np.ndarray, state: Any) -> dict[str, Any]:
        return self.infer(audio)

    def finish(self, state: Any) -> dict[str, Any]:
        return {"total": self.n_calls}


TOLD = {"segment", "error", "started", "progress", "finished", "draining"}
TOLD_BY = {"simple": TOLD, "stateful": TOLD, "segmented": TOLD | {"active", "inactive", "probabilities"}}


@pytest.mark.parametrize("route", ROUTES)
def test_a_session_yields_only_messages_that_are_valid_and_all_of_them(serve, route):
    server = serve(Talker(), **{"inference.warm_up": False, "server.drain_s": 20, "simple.min_chunk_ms": 500})
    audio = encode(bursts((0.5, 1.5), (2.5, 3.5), length_s=4.5))
    options = {"notices": True, "probabilities": True, "interim_results": True}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Client(server.url(route)) as client:
        client.send("{}", start(trace_id=trace, **options), KEEP_ALIVE, audio, FLUSH)
        received = client.until("progress")
        server.server.ask_to_end()
        received += client.until("draining")
        client.send(audio, STOP)
        received += client.rest()
        assert client.close_code == 1000
    assert {event["type"] for event in received} == TOLD_BY[route]
    said = [
        of_name(reference["$ref"].rpartition("/")[2])
        for reference in ASYNCAPI["operations"][f"{route}.send"]["messages"]
    ]
    for event in received:
        SERVER.validate(event)
        assert sum(message.is_valid(event) for message in said) == 1, event


def test_eager_and_stable_results_are_valid(serve):
    server = serve(lambda audio: {"text": "a b c"})
    audio = encode(bursts((0.5, 1.7), (2.2, 2.7), length_s=4.0))
    with Client(server.url()) as client:
        client.send(start(notices=True, interim_results=True, stability=True, eager=True))
        client.send(audio[: 2 * 16_000 * 2])  # amid the pause
        received = []
        while not received or not received[-1].get("eager"):
            received += client.until("segment")
        client.send(audio[2 * 16_000 * 2 :], STOP)
        received += client.until("resumed")
        received += client.rest()
    for event in received:
        SERVER.validate(event)
    assert {event.get("stable_text") for event in received if event.get("eager")} <= {"", "a b"}
    assert sum(event.get("is_final") is True for event in received) == 1


def test_the_routes_know_every_event_but_one():
    told = set().union(*TOLD_BY.values(), {"resumed"})
    assert {kind.type for kind in EVENTS} == told | {"data"}
