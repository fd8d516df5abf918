"""Deepgram's API: any query, any text and any order of events give messages that its clients can read."""

from __future__ import annotations

import json

from fuzz.source import Source
from fuzz.wires import model_output, query, text
from voxgate.endpoints.deepgram.live import DeepgramWire
from voxgate.endpoints.deepgram.query import parse_listen
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Error, Event, Finished, Flushed, Inactive, Progress, Segment
from voxgate.protocol.requests import Flush

RAW = b"encoding=linear16&sample_rate=8000&channels=2&multichannel=true&utterance_end_ms=1000&interim_results=true"
NAMES = ("encoding", "sample_rate", "channels", "multichannel", "endpointing", "utterance_end_ms", "vad_events", "x")
TYPES = ("KeepAlive", "Finalize", "CloseStream", "Configure", "Results", "")


def event(source: Source, time_s: float) -> Event:
    channel, number = source.integer(0, 1), source.integer(0, 3)
    kind = source.integer(0, 6)
    if kind == 0:
        return Active(time_s, channel, number)
    if kind == 1:
        return Inactive(time_s, channel, number)
    if kind == 2:
        return Progress(time_s, time_s, 0.0, 0.0)
    if kind == 3:
        return Error("failed", "inference_failed", channel, number)
    return Segment(time_s - source.integer(0, 2), time_s, source.flag(), model_output(source), channel, number)


def check(messages) -> int:
    n_answers = 0
    for message in map(json.loads, messages):
        assert message["type"] in ("Results", "SpeechStarted", "UtteranceEnd", "Error", "Metadata", "ConfigureFailure")
        if message["type"] == "Results":
            (best,) = message["channel"]["alternatives"]
            assert isinstance(best["words"], list)
            assert isinstance(best["transcript"], str)
            assert message["duration"] >= 0
            n_answers += message["from_finalize"]
    return n_answers


def fuzz(data: bytes) -> None:
    source = Source(data)
    try:
        parse_listen(query(source, NAMES), min_silence_ms=300)
    except InvalidStart as error:
        assert str(error)
    wire = DeepgramWire(parse_listen(RAW, min_silence_ms=300), "id", "model")
    n_flushes, time_s = 0, 0.0
    while source.left:
        if source.integer(0, 3) == 0:
            try:
                received = wire.read(text(source, TYPES))
            except InvalidMessage as error:
                assert str(error)
                continue
            n_flushes += any(isinstance(message, Flush) for message in received)
        elif n_flushes and source.flag():
            n_flushes -= 1
            assert [check(wire.encode(Flushed(channel))) for channel in (0, 1)] == [1, 1]
        else:
            time_s += source.integer(0, 3)
            try:
                told = event(source, time_s)
            except (ValueError, RecursionError):
                continue  # the source made a JSON that is none
            assert check(wire.encode(told)) == 0
    wire.encode(Finished(time_s, time_s, 0, 0))
    rest = [json.loads(message) for message in wire.farewell(Close(CloseReason.COMPLETED))]
    assert rest[-1]["type"] == "Metadata"
    check(map(json.dumps, rest))


SEEDS = [bytes([0] * 30), bytes(range(256)), RAW + bytes([3, 2, 1, 0] * 30)]
