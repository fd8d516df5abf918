"""Wire messages: the msgspec structs against what a server would write without them, json with dicts or dataclasses."""

from __future__ import annotations

import base64
import json
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from voxgate._native.text_audio import TextAudio
from voxgate.config import LimitsSettings
from voxgate.endpoints.openai.realtime_requests import parse_realtime
from voxgate.protocol.events import Active, Segment
from voxgate.protocol.json_codec import encode_event, parse_event, parse_request
from voxgate.protocol.machine import SessionMachine
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start

Benchmark = Callable[..., Any]

START = (
    '{"request":"start","format":{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false},'
    '"interim_results":true,"trace_id":null}'
)
OUTPUT = {"level_dbfs": -23.4, "peak": 0.31, "pitch_hz": 182.5, "voiced_ratio": 0.71, "centroid_hz": 1432.9}
SEGMENT = (
    '{"type":"segment","start_time":1.234,"end_time":4.321,"is_final":true,"level_dbfs":-23.4,"peak":0.31,'
    '"pitch_hz":182.5,"voiced_ratio":0.71,"centroid_hz":1432.9,"channel":0}'
)


# ------------------------------------------------------------------------------------------------- the opponents


@dataclass(frozen=True, slots=True)
class PlainFormat:
    channels: int
    sample_rate: int
    bit_depth: int
    is_float: bool


@dataclass(frozen=True, slots=True)
class PlainStart:
    format: PlainFormat
    interim_results: bool = False
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class PlainSegment:
    start_time: float
    end_time: float
    is_final: bool
    output: dict[str, Any]
    channel: int


@dataclass(frozen=True, slots=True)
class PlainActive:
    time: float
    channel: int


def checked(fields: dict[str, Any], name: str, kind: type) -> Any:
    value = fields[name]
    if type(value) is not kind:
        raise ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def plain_parse(text: str) -> PlainStart:
    """What is needed at least: the same types, checked by hand."""
    fields = json.loads(text)
    if fields.get("request") != "start":
        raise ValueError("unknown request")
    format = checked(fields, "format", dict)
    trace_id = fields.get("trace_id")
    if trace_id is not None and type(trace_id) is not str:
        raise ValueError("trace_id")
    return PlainStart(
        PlainFormat(
            checked(format, "channels", int),
            checked(format, "sample_rate", int),
            checked(format, "bit_depth", int),
            checked(format, "is_float", bool),
        ),
        checked(fields, "interim_results", bool),
        trace_id,
    )


def plain_encode_segment(event: PlainSegment) -> str:
    fields = {
        "type": "segment",
        "start_time": round(event.start_time, 3),
        "end_time": round(event.end_time, 3),
        "is_final": event.is_final,
        **event.output,
        "channel": event.channel,
    }
    return json.dumps(fields, separators=(",", ":"))


# ----------------------------------------------------------------------------------------------------- benchmarks


@pytest.mark.benchmark(group="parse start")
def test_voxgate_parse_start(benchmark: Benchmark) -> None:
    assert isinstance(benchmark(parse_request, START), Start)


@pytest.mark.benchmark(group="parse start")
def test_json_dataclasses_parse_start(benchmark: Benchmark) -> None:
    assert isinstance(benchmark(plain_parse, START), PlainStart)


@pytest.mark.benchmark(group="encode segment")
def test_voxgate_encode_segment(benchmark: Benchmark) -> None:
    """On the loop's thread: the result was encoded on the worker."""
    assert benchmark(encode_event, Segment(1.23412, 4.32101, True, Output.of(OUTPUT), 0)) == SEGMENT


@pytest.mark.benchmark(group="encode segment")
def test_voxgate_encode_result(benchmark: Benchmark) -> None:
    """On the worker."""
    assert benchmark(Output.of, OUTPUT) == OUTPUT


@pytest.mark.benchmark(group="encode segment")
def test_json_dict_encode_segment(benchmark: Benchmark) -> None:
    assert benchmark(plain_encode_segment, PlainSegment(1.23412, 4.32101, True, OUTPUT, 0)) == SEGMENT


@pytest.mark.benchmark(group="encode active")
def test_voxgate_encode_active(benchmark: Benchmark) -> None:
    assert benchmark(encode_event, Active(1.2, 0)) == '{"type":"active","time":1.2,"channel":0}'


@pytest.mark.benchmark(group="encode active")
def test_json_dataclass_encode_active(benchmark: Benchmark) -> None:
    def encode(event: PlainActive) -> str:
        return json.dumps({"type": "active", **asdict(event)})

    assert json.loads(benchmark(encode, PlainActive(1.2, 0)))["time"] == 1.2


@pytest.mark.benchmark(group="parse segment")
def test_voxgate_parse_segment(benchmark: Benchmark) -> None:
    assert benchmark(parse_event, SEGMENT) == Segment(1.234, 4.321, True, OUTPUT, 0)


@pytest.mark.benchmark(group="parse segment")
def test_json_parse_segment(benchmark: Benchmark) -> None:
    assert benchmark(json.loads, SEGMENT)["end_time"] == 4.321


class NoVad:
    def merged(self, options: object) -> object:
        return options


@pytest.mark.benchmark(group="audio message through the session machine")
def test_voxgate_audio(benchmark: Benchmark) -> None:
    protocol = SessionMachine(LimitsSettings(), NoVad())
    protocol.receive(parse_request(START))
    data = bytes(640)
    assert benchmark(protocol.receive_audio, data) is None


AUDIO = bytes(range(256)) * 19  # 100 ms at 24 kHz
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(AUDIO).decode()})


@pytest.mark.benchmark(group="100 ms of base64 in a text message")
def test_voxgate_text_audio(benchmark: Benchmark) -> None:
    """From the bytes of the frame, as the websocket does it."""
    assert benchmark(TextAudio("input_audio_buffer.append", array("q", (0, 0))), APPEND.encode()) == AUDIO


@pytest.mark.benchmark(group="100 ms of base64 in a text message")
def test_msgspec_text_audio(benchmark: Benchmark) -> None:
    """The parser of every other message."""
    assert benchmark(parse_realtime, APPEND).audio == AUDIO  # type: ignore[union-attr]


@pytest.mark.benchmark(group="100 ms of base64 in a text message")
def test_json_text_audio(benchmark: Benchmark) -> None:
    assert benchmark(lambda: base64.b64decode(json.loads(APPEND)["audio"], validate=True)) == AUDIO
