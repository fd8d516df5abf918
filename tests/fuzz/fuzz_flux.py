"""Deepgram's Flux: any query, any text and any order of events give messages that keep the law of turns."""

from __future__ import annotations

from fuzz.source import Source
from fuzz.wires import model_output, query, text
from helpers.flux import FluxLaw
from voxgate.endpoints.deepgram.flux import FluxWire
from voxgate.endpoints.deepgram.flux_query import Silence, parse_flux
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import (
    Active,
    Error,
    Event,
    Finished,
    Flushed,
    Inactive,
    Progress,
    Segment,
    SpeechResumed,
    Started,
)
from voxgate.session.endpoint import Answer

RAW = b"model=flux-general-en&encoding=linear16&sample_rate=8000&eager_eot_threshold=0.5"
SILENCE = Silence(usual_ms=600, shortest_ms=300)
SCHEMA = {"properties": {"keyterms": {"type": "array"}, "language": {"type": "string"}}}
NAMES = (
    "encoding",
    "sample_rate",
    "eot_threshold",
    "eager_eot_threshold",
    "eot_timeout_ms",
    "keyterm",
    "language",
    "x",
)
TYPES = ("ForceEndTurn", "Configure", "CloseStream", "KeepAlive", "Finalize", "")


def client_text(source: Source) -> str:
    thresholds = {
        "eot_threshold": source.pick((0.5, 0.7, 1, 2, None, "x")),
        "eager_eot_threshold": source.pick((0.3, 0.7, None)),
    }
    return text(source, TYPES, thresholds=thresholds, keyterms=["a"] * source.integer(0, 2))


def event(source: Source, time_s: float) -> Event:
    number = source.integer(0, 3)
    match source.integer(0, 9):
        case 0:
            return Active(time_s, 0, number)
        case 1:
            return Inactive(time_s, 0, number)
        case 2:
            return Progress(time_s, time_s, 0.0, 0.0)
        case 3:
            return Error("failed", "inference_failed", 0, number)
        case 4:
            return SpeechResumed(time_s, 0, number)
        case 5:
            return Flushed()
        case 6:
            return source.pick((Started("id", "model", {}), Finished(time_s, time_s, 0, 0)))
    said, is_final = model_output(source), source.flag()
    segment = Segment(max(0.0, time_s - source.integer(0, 2)), time_s, is_final, said, 0, number)
    if is_final or source.flag():
        return segment
    return Segment(segment.start_time, time_s, False, said, 0, number, eager=True)


def fuzz(data: bytes) -> None:
    source = Source(data)
    try:
        parse_flux(query(source, NAMES), silence=SILENCE, options_schema=SCHEMA)
    except InvalidStart as error:
        assert str(error)
    law = FluxLaw()
    wire = FluxWire(parse_flux(RAW, silence=SILENCE, options_schema=SCHEMA), "id", lambda options: options)
    law.check(wire.greeting)
    time_s = 0.0
    while source.left:
        if source.integer(0, 3) == 0:
            try:
                received = wire.read(client_text(source))
            except InvalidMessage as error:
                assert str(error)
                continue
            for message in received:
                if isinstance(message, Answer):
                    law.check(message.messages() if callable(message.messages) else message.messages)
        else:
            time_s += source.integer(0, 3)
            try:
                told = event(source, time_s)
            except (ValueError, RecursionError):
                continue  # the source made a JSON that is none
            law.check(wire.encode(told))
    law.check(wire.encode(Finished(time_s, time_s, 0, 0)))
    law.check(wire.farewell(Close(CloseReason.INTERNAL)))


SEEDS = [bytes([0] * 30), bytes(range(256)), RAW + bytes([3, 2, 1, 0] * 30), bytes([1, 0, 7, 1, 9] * 40)]
