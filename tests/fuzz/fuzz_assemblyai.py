"""AssemblyAI's API: any query and any text are read or refused, and every turn has the fields that its clients need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fuzz.fuzz_deepgram import event
from fuzz.source import Source
from fuzz.wires import query, text
from voxgate.endpoints.assemblyai.live import AssemblyAiWire
from voxgate.endpoints.assemblyai.query import parse_streaming
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Finished, Flushed
from voxgate.protocol.machine import no_options
from voxgate.protocol.requests import Flush
from voxgate.session.endpoint import Restart

NAMES = ("encoding", "sample_rate", "min_turn_silence", "max_turn_silence", "speech_model", "redact_pii", "x")
TYPES = ("KeepAlive", "ForceEndpoint", "UpdateConfiguration", "Terminate", "Turn", "")
TURN = {
    "type": str,
    "turn_order": int,
    "turn_is_formatted": bool,
    "end_of_turn": bool,
    "transcript": str,
    "end_of_turn_confidence": float,
    "words": list,
}
WORD = {"text": str, "start": int, "end": int, "confidence": float, "word_is_final": bool}


def fuzz(data: bytes) -> None:
    source = Source(data)
    try:
        parse_streaming(query(source, NAMES), min_silence_ms=300)
    except InvalidStart as error:
        assert str(error)
    wire = AssemblyAiWire(parse_streaming(b"sample_rate=8000", min_silence_ms=300), "id", 10.0, no_options)
    n_forced, time_s = 0, 0.0
    while source.left:
        if source.integer(0, 3) == 0:
            update = {"max_turn_silence": source.pick((None, 1, 500, -1, "x"))}
            try:
                (received,) = wire.read(text(source, TYPES, **update))
            except InvalidMessage as error:
                assert str(error)
                continue
            n_forced += isinstance(received, Flush)
            if isinstance(received, Restart):
                check(wire.encode(Finished(time_s, time_s, 0, 0)))
                time_s = 0.0
            continue
        if n_forced and source.flag():
            n_forced -= 1
            assert len(check(wire.encode(Flushed()))) <= 1
            continue
        time_s += source.integer(0, 3)
        try:
            told = event(source, time_s)
        except (ValueError, RecursionError):
            continue  # the source made a JSON that is none
        ends = [turn["end_of_turn"] for turn in check(wire.encode(told))]
        assert not (n_forced and any(ends))
    *rest, termination = wire.farewell(Close(CloseReason.COMPLETED))
    assert len(check(rest)) <= 1
    assert json.loads(termination)["type"] == "Termination"


def check(messages: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """The turns among `messages`, which have every field."""
    turns = []
    for message in map(json.loads, messages):
        assert message["type"] in ("Turn", "Warning")
        if message["type"] == "Turn":
            assert {name: type(value) for name, value in message.items()} == TURN
            for word in message["words"]:
                assert {name: type(value) for name, value in word.items()} == WORD
            turns.append(message)
    return turns


SEEDS = [bytes([0] * 30), bytes(range(256)), bytes([3, 2, 1, 0] * 30)]
