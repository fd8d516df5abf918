from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from voxgate.errors import InternalError, InvalidMessage
from voxgate.protocol.events import (
    Active,
    Data,
    Draining,
    Error,
    Event,
    Finished,
    Inactive,
    Probabilities,
    Progress,
    Segment,
    SpeechResumed,
    Started,
    UnknownEvent,
)
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import encode_event, encode_request, parse_event, parse_request
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Clear, Flush, KeepAlive, Request, Start, Stop, VadOptions

S16 = AudioFormat(channels=1, sample_rate=16000, bit_depth=16, is_float=False)
FORMAT = '{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}'


def start(**fields: Any) -> str:
    return json.dumps({"request": "start", "format": json.loads(FORMAT), **fields})


def format_with(**fields: Any) -> str:
    return start(format={**json.loads(FORMAT), **fields})


# ------------------------------------------------------------------------------------------------ requests, good

GOOD: list[tuple[str | bytes, Request]] = [
    (f'{{"request":"start","format":{FORMAT},"interim_results":false,"trace_id":null}}', Start(S16)),
    (f'{{"request":"start","format":{FORMAT}}}', Start(S16)),
    (f'{{"format":{FORMAT},"request":"start"}}', Start(S16)),
    (start(interim_results=True, trace_id="00-ab-cd-01"), Start(S16, True, "00-ab-cd-01")),
    (start(notices=True, token="s3cret"), Start(S16, notices=True, token="s3cret")),
    (start(vad={}), Start(S16, vad=VadOptions())),
    (start(vad={"threshold": 1, "max_segment_s": 3}), Start(S16, vad=VadOptions(threshold=1.0, max_segment_s=3.0))),
    (start(vad={"silence_duration_ms": 300, "unknown": "x"}), Start(S16, vad=VadOptions(silence_duration_ms=300))),
    (start(something_new={"a": [1]}), Start(S16)),
    (
        format_with(bit_depth=8, encoding="mulaw", layout="mono"),
        Start(AudioFormat(1, 16000, 8, False, "mulaw")),
    ),
    (format_with(channels=99), Start(AudioFormat(99, 16000, 16, False))),  # a range is not the parser's business
    ('{"request":"stop","disconnect":false}', Stop()),
    ('{"request":"stop","disconnect":true}', Stop(True)),
    ('{"request":"stop"}', Stop()),
    ('{"request":"flush"}', Flush()),
    ('{"request":"clear"}', Clear()),
    ('{"request":"keep_alive"}', KeepAlive()),
    (start(segmentation="manual", stability=True), Start(S16, segmentation="manual", stability=True)),
    (start(segmentation="auto"), Start(S16)),
    (b' {"request" : "flush", "why": "\xc3\xa9"} ', Flush()),
]


@pytest.mark.parametrize(("text", "request_"), GOOD)
def test_parse_request(text: str | bytes, request_: Request) -> None:
    assert parse_request(text) == request_
    assert parse_request(text.encode() if isinstance(text, str) else text.decode()) == request_


# ------------------------------------------------------------------------------------------------- requests, bad

KNOWN = "start, stop, flush, clear, keep_alive"
MALFORMED: list[tuple[str | bytes, str]] = [
    ("", "message: expected JSON, got text that ends too early"),
    ('{"request":"stop"', "message: expected JSON, got text that ends too early"),
    ("hello", "message: expected JSON, got invalid character (byte 0)"),
    ('{"request":"stop"} x', "message: expected JSON, got trailing characters (byte 20)"),
    ('{"request":"stop","x":NaN}', "message: expected JSON, got invalid character (byte 22)"),
    (b"\xff\xfe\x00", "message: expected JSON, got invalid character (byte 0)"),
    ("\ud800", "message: expected UTF-8 text, got bytes that are not UTF-8"),
    ("3", "message: expected object, got int 3"),
    ("null", "message: expected object, got null"),
    ('"stop"', 'message: expected object, got str "stop"'),
    ("[1]", "message: expected object, got array"),
    ('{"request":"stop","x":' + "[" * 2_000_000, "message: expected a flat JSON object, got one nested too deep"),
    ("{}", f"request must be one of {KNOWN}, got nothing"),
    ('{"Request":"stop"}', f"request must be one of {KNOWN}, got nothing"),
    ('{"request":"foo"}', f'request must be one of {KNOWN}, got "foo"'),
    ('{"request":""}', f'request must be one of {KNOWN}, got ""'),
    ('{"request":3}', f"request must be one of {KNOWN}, got int 3"),
    ('{"request":null}', f"request must be one of {KNOWN}, got null"),
    ('{"request":{"a":1}}', f"request must be one of {KNOWN}, got object"),
    ('{"request":"stop","request":"start"}', "request: expected once, got several"),
    ('{"request":"stop","disconnect":1}', "disconnect: expected bool, got int 1"),
    ('{"request":"stop","disconnect":null}', "disconnect: expected bool, got null"),
    ('{"request":"stop","disconnect":"yes"}', 'disconnect: expected bool, got str "yes"'),
    ('{"request":"stop","disconnect":4,"disconnect":true}', "disconnect: expected bool, got int"),
    ('{"request":"start"}', "format: expected object, got nothing"),
    ('{"request":"start","format":null}', "format: expected object, got null"),
    ('{"request":"start","format":"wav"}', 'format: expected object, got str "wav"'),
    ('{"request":"start","format":{}}', "format.channels: expected int, got nothing"),
    ('{"request":"start","format":{"channels":1}}', "format.sample_rate: expected int, got nothing"),
    (
        '{"request":"start","format":{"channels":1,"sample_rate":1}}',
        "format.bit_depth: expected int, got nothing",
    ),
    (
        '{"request":"start","format":{"channels":1,"sample_rate":1,"bit_depth":1}}',
        "format.is_float: expected bool, got nothing",
    ),
    (format_with(channels="two"), 'format.channels: expected int, got str "two"'),
    (format_with(channels=True), "format.channels: expected int, got bool true"),
    (format_with(sample_rate=16000.0), "format.sample_rate: expected int, got float 16000.0"),
    (format_with(sample_rate=[16000]), "format.sample_rate: expected int, got array"),
    (format_with(is_float=0), "format.is_float: expected bool, got int 0"),
    (format_with(encoding=7), "format.encoding: expected str or null, got int 7"),
    (start(interim_results=0), "interim_results: expected bool, got int 0"),
    (start(trace_id=5), "trace_id: expected str or null, got int 5"),
    (start(notices="on"), 'notices: expected bool, got str "on"'),
    (start(probabilities=1), "probabilities: expected bool, got int 1"),
    (start(segmentation="semi"), 'segmentation: expected "auto" or "manual", got str "semi"'),
    (start(segmentation=None), 'segmentation: expected "auto" or "manual", got null'),
    (start(eager=1), "eager: expected bool, got int 1"),
    (start(stability="yes"), 'stability: expected bool, got str "yes"'),
    (start(vad=[]), "vad: expected object or null, got array"),
    (start(vad={"threshold": "high"}), 'vad.threshold: expected float or null, got str "high"'),
    (start(vad={"threshold": True}), "vad.threshold: expected float or null, got bool true"),
    (start(vad={"min_speech_ms": 90.5}), "vad.min_speech_ms: expected int or null, got float 90.5"),
    (start(token=123456), "token: expected str or null, got int"),
    (start(token=["s3cret"]), "token: expected str or null, got array"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_invalid_message_says_what_was_expected_and_what_came(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_request(text)
    assert str(caught.value) == message


def test_every_required_field_is_named_when_missing() -> None:
    for name in msgspec.structs.fields(AudioFormat):
        if name.required:
            fields = json.loads(FORMAT)
            del fields[name.name]
            with pytest.raises(InvalidMessage, match=rf"^format\.{name.name}: expected (int|bool), got nothing$"):
                parse_request(start(format=fields))


@pytest.mark.parametrize("text", ["x" * 5000, "é" * 5000, '"' * 5000, "\n" * 5000])
def test_little_of_the_message_is_echoed(text: str) -> None:
    for message in (json.dumps({"request": text}), json.dumps({"request": "stop", "disconnect": text})):
        with pytest.raises(InvalidMessage, match="got ") as caught:
            parse_request(message)
        assert len(str(caught.value)) <= 150
        assert str(caught.value).endswith('…"')


def test_a_huge_number_is_no_trouble() -> None:
    for digits in (30, 300, 5000, 100_000):
        with pytest.raises(InvalidMessage) as caught:
            parse_request('{"request":"stop","disconnect":' + "9" * digits + "}")
        assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "text",
    [
        start(token=7310531),
        start(token={"a": "7310531"}),
        start(token="7310531", interim_results=3),
        start(token="7310531")[:-1],
        '{"request":"foo","token":"7310531"}',
        '{"token":7310531}',
    ],
)
def test_a_token_is_never_echoed(text: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_request(text)
    assert "7310531" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_token_never_shows_in_a_repr() -> None:
    request = parse_request(start(token="7310531", trace_id="t", notices=True))
    assert "7310531" not in repr(request)
    assert "7310531" not in f"{[request]}"
    assert "token=None" in repr(parse_request(start()))


# ------------------------------------------------------------------------------------------- requests, properties

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
# Messages that come close to the real ones: the right names with any values in them.
names = st.sampled_from(
    ["request", "format", "interim_results", "trace_id", "vad", "notices", "token", "disconnect", "channels", "x"]
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "request": st.sampled_from(["start", "stop", "flush", "clear", "keep_alive", "begin"]) | json_values,
        "format": st.fixed_dictionaries(
            {},
            optional={
                "channels": json_values,
                "sample_rate": st.just(16000) | json_values,
                "bit_depth": st.just(16) | json_values,
                "is_float": st.booleans() | json_values,
                "encoding": json_values,
            },
        )
        | json_values,
        "interim_results": json_values,
        "trace_id": json_values,
        "vad": st.dictionaries(st.sampled_from(VadOptions.__struct_fields__), json_values) | json_values,
        "token": json_values,
        "disconnect": json_values,
    },
)


def parses_or_says_why(text: str | bytes) -> None:
    reason: str | None = None
    try:
        request = parse_request(text)
    except InvalidMessage as error:
        reason = str(error)
    if reason is None:
        assert isinstance(request, Start | Stop | Flush | Clear | KeepAlive)
    else:
        assert 0 < len(reason.encode()) < 500


@given(st.binary(max_size=100) | st.text(max_size=100))
def test_anything_parses_or_says_why(text: str | bytes) -> None:
    parses_or_says_why(text)


@given(json_values | requests | st.dictionaries(names, json_values))
def test_any_json_parses_or_says_why(value: Any) -> None:
    parses_or_says_why(json.dumps(value))


@given(requests, st.data())
def test_a_damaged_message_parses_or_says_why(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value).encode()
    at = data.draw(st.integers(0, len(text)))
    parses_or_says_why(text[:at])
    parses_or_says_why(text[:at] + data.draw(st.binary(max_size=3)) + text[at + 1 :])


formats = st.builds(
    AudioFormat,
    channels=st.integers(1, 64),
    sample_rate=st.integers(1, 400_000),
    bit_depth=st.integers(0, 64),
    is_float=st.booleans(),
    encoding=st.none() | st.text(max_size=8),
)
milliseconds = st.none() | st.integers(-(2**40), 2**40)
seconds = st.none() | st.floats(allow_nan=False, allow_infinity=False)
valid_requests = st.one_of(
    st.builds(
        Start,
        format=formats,
        interim_results=st.booleans(),
        trace_id=st.none() | st.text(max_size=60),
        vad=st.none()
        | st.builds(
            VadOptions,
            **{
                field.name: milliseconds if field.name.endswith("_ms") else seconds
                for field in msgspec.structs.fields(VadOptions)
            },
        ),
        notices=st.booleans(),
        token=st.none() | st.text(max_size=20),
        probabilities=st.booleans(),
        segmentation=st.sampled_from(["auto", "manual"]),
        stability=st.booleans(),
        eager=st.booleans(),
    ),
    st.builds(Stop, st.booleans()),
    st.just(Flush()),
    st.just(Clear()),
    st.just(KeepAlive()),
)


@given(valid_requests)
def test_requests_round_trip(request_: Request) -> None:
    text = encode_request(request_)
    assert parse_request(text) == request_
    assert parse_request(text.encode()) == request_


def test_encoded_requests_are_those_of_the_original() -> None:
    assert encode_request(Start(S16)) == (
        f'{{"request":"start","format":{FORMAT},"interim_results":false,"trace_id":null}}'
    )
    assert encode_request(Stop(True)) == '{"request":"stop","disconnect":true}'
    assert encode_request(
        Start(S16, vad=VadOptions(min_speech_ms=5), notices=True, token="t", probabilities=True)
    ).endswith('"trace_id":null,"vad":{"min_speech_ms":5},"notices":true,"token":"t","probabilities":true}')
    assert encode_request(Start(S16, segmentation="manual", stability=True, eager=True)).endswith(
        '"trace_id":null,"segmentation":"manual","stability":true,"eager":true}'
    )
    assert encode_request(Clear()) == '{"request":"clear"}'


# --------------------------------------------------------------------------------------------------------- events

ENCODED: list[tuple[Event, str]] = [
    (
        Segment(0.0, 1.5, True, {"count": 24000}, 0),
        '{"type":"segment","start_time":0.0,"end_time":1.5,"is_final":true,"count":24000,"channel":0}',
    ),
    (
        Segment(0.5, 1.5, UNSET, {"count": 24000}, 1),
        '{"type":"segment","start_time":0.5,"end_time":1.5,"count":24000,"channel":1}',
    ),
    (Segment(1, 2, False, {}), '{"type":"segment","start_time":1.0,"end_time":2.0,"is_final":false,"channel":0}'),
    (Data({"count": 24000}, 0), '{"type":"data","count":24000,"channel":0}'),
    (Active(0.3, 0), '{"type":"active","time":0.3,"channel":0}'),
    (Inactive(1.5, 7), '{"type":"inactive","time":1.5,"channel":7}'),
    (Error("what", "code"), '{"type":"error","message":"what","code":"code","channel":0}'),
    (
        Segment(0.0, 1.5, True, {"count": 24000}, 1, 3),
        '{"type":"segment","start_time":0.0,"end_time":1.5,"is_final":true,"count":24000,"segment_id":3,"channel":1}',
    ),
    (Active(0.3, 1, 0), '{"type":"active","time":0.3,"segment_id":0,"channel":1}'),
    (Inactive(1.5, 7, 12), '{"type":"inactive","time":1.5,"segment_id":12,"channel":7}'),
    (
        Error("what", "code", segment_id=4),
        '{"type":"error","message":"what","code":"code","segment_id":4,"channel":0}',
    ),
    (
        Segment(0, 1, False, {"text": "a b"}, segment_id=3, stable_text="a"),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"is_final":false,"text":"a b","stable_text":"a",'
        '"segment_id":3,"channel":0}',
    ),
    (
        Segment(0, 1, False, {"text": "a b"}, eager=True),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"is_final":false,"eager":true,"text":"a b","channel":0}',
    ),
    (SpeechResumed(1.8), '{"type":"resumed","time":1.8,"channel":0}'),
    (SpeechResumed(1.8, 1, 4), '{"type":"resumed","time":1.8,"segment_id":4,"channel":1}'),
    (
        Segment(0, 1, False, {"eager": "mine"}),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"is_final":false,"eager":"mine","channel":0}',
    ),
    (
        Segment(0, 1, True, {"stable_text": "mine"}),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"is_final":true,"stable_text":"mine","channel":0}',
    ),
    (
        Segment(0, 1, False, {"stable_text": 5}),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"is_final":false,"stable_text":5,"channel":0}',
    ),
    (
        Segment(0, 1, UNSET, {"segment_id": "mine"}),
        '{"type":"segment","start_time":0.0,"end_time":1.0,"segment_id":"mine","channel":0}',
    ),
    (
        Probabilities(0.128, 0.032, [0.0, 0.123, 1.0], 1),
        '{"type":"probabilities","start_time":0.128,"step_s":0.032,"values":[0.0,0.123,1.0],"channel":1}',
    ),
    (
        Started("a1", "features", {"channels": 8}),
        '{"type":"started","session_id":"a1","model":"features","limits":{"channels":8},"channel":0}',
    ),
    (
        Progress(10.0, 9.5, 0.5, 0.0123),
        '{"type":"progress","received_s":10.0,"processed_s":9.5,"lag_s":0.5,"real_time_factor":0.012,"channel":0}',
    ),
    (
        Finished(10.0, 10.0, 3, 1),
        '{"type":"finished","received_s":10.0,"processed_s":10.0,"results":3,"errors":1,"channel":0}',
    ),
    (Draining(20), '{"type":"draining","grace_s":20.0,"channel":0}'),
    (UnknownEvent("later", {"type": "later", "a": 1}), '{"type":"later","a":1}'),
]


def test_probabilities_are_rounded_and_short_frames_are_not_lost() -> None:
    assert encode_event(Probabilities(1 / 3, 1 / 44_100, [0.99951, 0.12345])) == (
        '{"type":"probabilities","start_time":0.333,"step_s":0.000023,"values":[1.0,0.123],"channel":0}'
    )


@pytest.mark.parametrize(("event", "text"), ENCODED, ids=[event.type for event, _ in ENCODED])
def test_encode_event_field_by_field(event: Event, text: str) -> None:
    assert encode_event(event) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [(e, t) for e, t in ENCODED if e.type != "progress"],
    ids=[e.type for e, _ in ENCODED if e.type != "progress"],
)
def test_events_round_trip(event: Event, text: str) -> None:
    assert parse_event(text) == event
    assert parse_event(text.encode()) == event
    assert parse_event(text).type == event.type


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (1.23449, "1.234"),
        (1.2346, "1.235"),
        (0.1 + 0.2, "0.3"),
        (-0.0, "0.0"),
        (-0.0001, "0.0"),
        (3, "3.0"),
        (np.float64(2.0004), "2.0"),
        (np.float32(0.1), "0.1"),
        (86400.0625, "86400.062"),
        (1e7 + 1 / 16000, "10000000.0"),
    ],
)
def test_times_have_three_decimals(time: float, text: str) -> None:
    assert encode_event(Active(time)) == f'{{"type":"active","time":{text},"channel":0}}'
    fields = json.loads(encode_event(Segment(time, time, True, {})))
    assert fields["start_time"] == fields["end_time"] == float(text)
    assert math.copysign(1, fields["start_time"]) == 1


def test_a_time_that_is_no_number_is_null() -> None:
    for time in (math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf")):
        assert json.loads(encode_event(Progress(1.0, 1.0, 0.0, time)))["real_time_factor"] is None


def test_numpy_output() -> None:
    output = {
        "float32": np.float32(0.5),
        "float64": np.float64(0.1),
        "int64": np.int64(-3),
        "bool": np.bool_(True),
        "str": np.str_("é"),
        "array": np.array([1.0, np.nan, np.inf, -np.inf]),
        "matrix": np.arange(4, dtype=np.uint8).reshape(2, 2),
        "zero_dimensional": np.array(7),
        "empty": np.empty((0,)),
        "nested": [{"a": np.float16(0.25)}, (np.nan, 1)],
        "nan": float("nan"),
        "inf": np.float32("-inf"),
        "none": None,
    }
    assert json.loads(encode_event(Data(output))) == {
        "type": "data",
        "float32": 0.5,
        "float64": 0.1,
        "int64": -3,
        "bool": True,
        "str": "é",
        "array": [1.0, None, None, None],
        "matrix": [[0, 1], [2, 3]],
        "zero_dimensional": 7,
        "empty": [],
        "nested": [{"a": 0.25}, [None, 1]],
        "nan": None,
        "inf": None,
        "none": None,
        "channel": 0,
    }


@pytest.mark.parametrize("key", ["type", "channel", "start_time", "end_time", "is_final"])
def test_reserved_keys_are_refused(key: str) -> None:
    for event in (
        Data({"count": 1, key: 2}),
        Segment(0, 1, True, {"count": 1, key: 2}),
        Segment(0, 1, UNSET, {key: 2}),
    ):
        with pytest.raises(InternalError, match=f'^model output: the key "{key}" of the result is reserved$'):
            encode_event(event)


def test_segment_id_is_reserved_in_a_segment_that_has_one() -> None:
    with pytest.raises(InternalError, match=r'^model output: the key "segment_id" is reserved$'):
        encode_event(Segment(0, 1, True, {"segment_id": 2}, segment_id=0))


def test_stable_text_is_reserved_in_a_segment_that_has_one() -> None:
    with pytest.raises(InternalError, match=r'^model output: the key "stable_text" is reserved$'):
        encode_event(Segment(0, 1, False, {"stable_text": "a"}, stable_text=""))
    with pytest.raises(InternalError, match=r'^model output: the key "eager" is reserved$'):
        encode_event(Segment(0, 1, False, {"eager": "a"}, eager=True))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "object has no JSON form"),
        (1j, "complex has no JSON form"),
        (np.complex64(1j), "complex has no JSON form"),
        ([{"b": object()}], "object has no JSON form"),
        ("\ud800", "it contains text that UTF-8 cannot encode"),
    ],
)
def test_output_that_json_cannot_say_is_blamed_on_its_key(value: object, why: str) -> None:
    with pytest.raises(
        InternalError, match=rf'^model output: the key "bad" of the result cannot be sent as JSON: .*{why}$'
    ):
        encode_event(Data({"good": 1, "bad": value}))


def test_output_keys_must_be_strings() -> None:
    with pytest.raises(
        InternalError, match=r"^model output: expected a result with string keys, but a key is of type 'NoneType'$"
    ):
        encode_event(Data({None: 1}))  # type: ignore[dict-item]


def test_an_error_is_sent_whatever_its_text() -> None:
    assert json.loads(encode_event(Error('a\ud800"\n', "inference_failed")))["message"] == 'a?"\n'


def test_events_of_the_original_server() -> None:
    assert parse_event('{"type":"error","message":"no","channel":0}') == Error("no")
    assert parse_event('{"type":"active","time":0,"channel":1,"extra":3}') == Active(0.0, 1)
    assert parse_event('{"type":"data","count":1}') == Data({"count": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "message: expected JSON, got text that ends too early"),
        ("[]", "message: expected object, got array"),
        ("{}", "type: expected str, got nothing"),
        ('{"type":3}', "type: expected str, got int 3"),
        ('{"type":"active"}', "time: expected a value, got nothing"),
        ('{"type":"active","time":"x"}', "time: Expected float, got str"),
        ('{"type":"segment","start_time":0,"end_time":1,"is_final":3}', "is_final: Expected bool, got int"),
        ('{"type":"data","channel":"x"}', "channel: Expected int, got str"),
        ("\ud800", "message: expected UTF-8 text, got bytes that are not UTF-8"),
        ('{"type":' + "[" * 2_000_000, "message: expected a flat JSON object, got one nested too deep"),
    ],
)
def test_bad_events(text: str, message: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_event(text)
    assert str(caught.value) == message


@given(json_values | st.dictionaries(st.sampled_from(["type", "time", "channel", "count"]), json_values))
def test_any_json_is_an_event_or_says_why(value: Any) -> None:
    reason: str | None = None
    try:
        event = parse_event(json.dumps(value))
    except InvalidMessage as error:
        reason = str(error)
    if reason is None:
        assert event.type == value["type"]
    else:
        assert reason


def documented() -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("text", documented())
def test_every_example_of_the_reference_is_a_message(text: str) -> None:
    if text.startswith('{"request"'):
        assert encode_request(parse_request(text)) == text
    else:
        event = parse_event(text)
        assert not isinstance(event, UnknownEvent)
        assert encode_event(event) == text


def test_the_reference_shows_every_message() -> None:
    shown = "\n".join(documented())
    for name in ("start", "stop", "flush", "clear", "keep_alive"):
        assert f'"request":"{name}"' in shown
    for event, _ in ENCODED[:-1]:
        assert f'"type":"{event.type}"' in shown


def test_the_reference_quotes_errors_as_they_are() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\{\"request\".*?\})` \| `(.*?)` \|$", text, re.MULTILINE)
    assert len(rows) == 3
    for message, answer in rows:
        with pytest.raises(InvalidMessage) as caught:
            parse_request(message)
        assert str(caught.value) == answer


times = st.floats(0, 1e6).map(lambda time: round(time, 3))
output_keys = st.text(max_size=8).filter(
    lambda key: key not in ("type", "channel", "start_time", "end_time", "is_final")
)
outputs = st.dictionaries(
    output_keys,
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    max_size=4,
)
channels = st.integers(0, 7)


@given(
    st.builds(Active, times, channels)
    | st.builds(Inactive, times, channels)
    | st.builds(Error, st.text(), st.text(), channels)
    | st.builds(Segment, times, times, st.booleans() | st.just(UNSET), outputs, channels)
    | st.builds(Data, outputs, channels)
)
def test_any_event_round_trips(event: Event) -> None:
    assert parse_event(encode_event(event)) == event
    assert list(json.loads(encode_event(event)))[-1] == "channel"


def test_an_encoded_output_is_spliced_as_it_is() -> None:
    output = Output(b'"x":[1,  2]', None)
    assert encode_event(Segment(0, 1.5, True, output, 2, 7)) == (
        '{"type":"segment","start_time":0.0,"end_time":1.5,"is_final":true,"x":[1,  2],"segment_id":7,"channel":2}'
    )
    assert encode_event(Segment(0, 1.5, UNSET, Output(b""))) == (
        '{"type":"segment","start_time":0.0,"end_time":1.5,"channel":0}'
    )
    assert encode_event(Data(output)) == '{"type":"data","x":[1,  2],"channel":0}'


def test_options_go_to_the_server_and_their_schema_comes_back() -> None:
    start = Start(AudioFormat(1, 16_000, 16, False), options={"language": "de"})
    assert parse_request(encode_request(start)) == start
    assert "options" not in encode_request(Start(start.format))
    started = Started("s", "m", {}, options_schema={"type": "object"})
    assert json.loads(encode_event(started))["options_schema"] == {"type": "object"}
    assert parse_event(encode_event(started)) == started
    assert "options_schema" not in encode_event(Started("s", "m", {}))
