"""`voxgate.v1` says what the websocket says, on real sockets."""

from __future__ import annotations

import itertools

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.grpc_client import GrpcClient, audio, stream
from helpers.wire import CLEAR, FLUSH, KEEP_ALIVE, PAUSE, STOP, Client, bursts, encode, of_type, pieces, start, story
from helpers.wire import stream as websocket_stream
from voxgate.endpoints.grpc.native import NativeGrpcWire
from voxgate.errors import InternalError, InvalidMessage, InvalidStart
from voxgate.proto.voxgate import ClientMessage, ServerMessage
from voxgate.protocol.events import Data, Error, Flushed, Segment, Started
from voxgate.protocol.formats import MediaFormat
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Start, Stop

AUDIO = encode(bursts((0.5, 1.5), (2.2, 3.0), length_s=4))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"vad": {"min_speech_ms": 100, "threshold": 0.3}},
        {"probabilities": True},
        {"segmentation": "manual"},
    ],
    ids=["plain", "vad", "probabilities", "manual"],
)
def test_the_events_are_those_of_the_websocket(server, port, options):
    expected = websocket_stream(server.url(), start(**options), *pieces(AUDIO, 3200))
    told = stream(port, start(**options), *pieces(AUDIO, 3200))
    assert story(told) == story(expected)
    assert len(of_type(told, "segment")) >= 1
    kind = "probabilities"
    values = [[value for event in of_type(events, kind) for value in event["values"]] for events in (told, expected)]
    assert values[0] == values[1]


@pytest.mark.parametrize("route", ["simple", "stateful"])
def test_the_other_routes(server, port, route):
    expected = websocket_stream(server.url(route), start(), AUDIO)
    told = stream(port, start(route=route), AUDIO)
    heard = [
        sum(event["count"] for event in events) if route == "simple" else events[-1]["total"]
        for events in (told, expected)
    ]
    assert heard == [len(AUDIO) // 2] * 2
    assert {key for event in told for key in event} == {key for event in expected for key in event}


def test_a_result_that_it_cannot_carry_counts_as_an_error(serve):
    deep: dict[str, object] = {}
    for _ in range(31):
        deep = {"in": deep}
    server = serve(lambda audio: deep, **{"grpc.port": 0})
    events = websocket_stream(server.url(), start(notices=True), AUDIO, STOP)
    told = stream(server.server.grpc_port, start(notices=True), AUDIO)
    counts = [(len(of_type(some, "segment")), len(of_type(some, "error"))) for some in (events, told)]
    assert counts == [(2, 0), (0, 2)]
    finished = [of_type(some, "finished")[0] for some in (events, told)]
    assert [(event["results"], event["errors"]) for event in finished] == counts
    assert server.service.tally.segments["segmented", "final"] == 2


def test_interims_and_their_options(port):
    told = stream(port, start(interim_results=True, stability=True, vad={"silence_duration_ms": 200}), AUDIO)
    interims = [event for event in told if event["type"] == "segment" and not event["is_final"]]
    assert all(isinstance(event["stable_text"], str) for event in interims)
    assert len([event for event in told if event["type"] == "segment" and event["is_final"]]) == 2


def test_notices(server, port):
    with Client(server.url()) as client:
        client.send(start(notices=True), AUDIO, STOP)
        expected = client.rest()
    told = stream(port, start(notices=True), AUDIO)
    assert (told[0]["type"], told[-1]["type"]) == ("started", "finished")
    assert told[-1] == expected[-1]
    for events in (told, expected):
        assert len(events[0].pop("session_id")) == 32
    assert told[0] == {key: value for key, value in expected[0].items() if value is not None}


def test_cuts_are_invisible(port):
    expected = story(stream(port, start(), AUDIO))

    @settings(max_examples=5)
    @given(st.lists(st.integers(151, 20_000), min_size=1, max_size=30))
    def check(sizes):
        ends = list(itertools.accumulate(itertools.islice(itertools.cycle(sizes), 1 + len(AUDIO) // min(sizes))))
        cuts = [0, *(end for end in ends if end < len(AUDIO)), len(AUDIO)]
        assert story(stream(port, start(), *[AUDIO[a:b] for a, b in itertools.pairwise(cuts)])) == expected

    check()


def test_one_session_after_another(port):
    with GrpcClient(port) as client:
        client.open(start(notices=True), AUDIO, PAUSE)
        kinds = [client.receive()["type"] for _ in range(8)]
        assert (kinds[0], kinds[-1]) == ("started", "finished")
        client.send(start(route="segmented"), KEEP_ALIVE, AUDIO[:48_000], CLEAR, AUDIO, FLUSH, STOP)
        assert len(of_type(client.rest(), "segment")) >= 2
        assert client.code is grpc.StatusCode.OK


def test_a_half_close_after_a_pause_ends_the_call(port):
    with GrpcClient(port) as client:
        client.open(start(notices=True), PAUSE)
        assert [client.receive()["type"] for _ in range(2)] == ["started", "finished"]
        client.half_close()
        assert (client.rest(), client.code) == ([], grpc.StatusCode.OK)


def test_a_wrong_message_in_between_is_an_error_and_the_stream_goes_on(port):
    with GrpcClient(port) as client:
        client.open(start(), start(route="simple"), ClientMessage(), AUDIO)
        client.half_close()
        told = client.rest()
        assert [(event["code"], event["message"]) for event in of_type(told, "error")] == [
            ("invalid_start", 'route: expected segmented, that of the stream, got "simple"'),
            ("invalid_message", "message: expected start, audio, stop, flush, clear or keep_alive, got nothing"),
        ]
        assert len(of_type(told, "segment")) == 2


# Without a socket


class Context:
    """Nothing of it is needed."""


def opened(message) -> NativeGrpcWire:
    return NativeGrpcWire.open(message.SerializeToString(), Context(), "an-id")


def first(**fields) -> ClientMessage:
    message = ClientMessage()
    form = message.start.format
    form.channels, form.sample_rate, form.bit_depth, form.is_float = 1, 16_000, 16, False
    for name, value in fields.items():
        setattr(message.start, name, value)
    return message


def test_numbers_of_options_without_a_fraction_are_integers():
    message = first()
    message.start.options.update({"top": 3, "part": 0.5, "list": [1, None, {"deep": 2**40}], "on": True, "name": "ä"})
    assert opened(message).start.options == {
        "top": 3,
        "part": 0.5,
        "list": [1, None, {"deep": 2**40}],
        "on": True,
        "name": "ä",
    }
    assert type(opened(message).start.options["top"]) is int


def test_a_start_that_sets_nothing_else_is_that_of_the_websocket():
    wire = opened(first())
    assert (wire.route, wire.start) == ("segmented", Start(wire.start.pcm))
    assert opened(first(route="simple", interim_results=False)).route == "simple"


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        (ClientMessage(), InvalidMessage, "message: expected start first, got nothing"),
        (audio(b"ab"), InvalidMessage, "message: expected start first, got audio"),
        (ClientMessage(start={}), InvalidMessage, "format.channels: expected int, got nothing"),
        (first(route="x"), InvalidStart, 'route: expected simple, segmented, stateful, got "x"'),
        (first(segmentation="x"), InvalidMessage, 'segmentation: expected "auto" or "manual", got str "x"'),
    ],
)
def test_a_wrong_first_message(message, error, text):
    with pytest.raises(error) as raised:
        opened(message)
    assert str(raised.value) == text


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data):
    wire = NativeGrpcWire("segmented", opened(first()).start)
    try:
        (received,) = wire.read(data)
    except (InvalidMessage, InvalidStart):
        return
    assert isinstance(received, bytes | Start | Stop | Flush | Clear | KeepAlive)


def told(event) -> ServerMessage:
    (data,) = NativeGrpcWire("segmented", opened(first()).start).encode(event)
    return ServerMessage.FromString(data)


def test_what_no_json_has():
    assert told(Error("not \ud800 this", "internal")).error.message == "not ? this"
    deep = {}
    for _ in range(40):
        deep = {"in": deep}
    with pytest.raises(InternalError, match="30 objects and lists"):
        told(Data(deep))
    with pytest.raises(InternalError, match='the key "type" of the result is reserved'):
        told(Data({"type": 1}))
    assert NativeGrpcWire("segmented", opened(first()).start).encode(Flushed()) == ()


def test_optional_fields():
    segment = told(Segment(0.0, 1.23456, True, {"text": "x"}, segment_id=0)).segment
    assert (segment.end_time, segment.HasField("segment_id"), segment.HasField("eager")) == (1.235, True, False)
    started = told(Started("id", "m", {"channels": 8}, trace_id="t", format=MediaFormat("webm", 1, 48_000))).started
    assert (started.trace_id, started.format.container, started.HasField("options_schema")) == ("t", "webm", False)
