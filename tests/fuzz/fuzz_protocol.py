"""The session machine: any sequence of messages and timeouts gives actions in an order that the contract allows."""

from __future__ import annotations

import json

from fuzz.source import Source
from helpers.json_machine import receive
from voxgate.config import LimitsSettings
from voxgate.errors import BrokenMedia
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error
from voxgate.protocol.formats import AUTO, CONTAINERS, ContainerFormat
from voxgate.protocol.machine import Action, Audio, FinishSession, Flush, OpenSession, Reply, SessionMachine
from voxgate.vad.config import VadConfig
from voxgate.vad.turns import TurnConfig

LIMITS = LimitsSettings(invalid_messages=3)
CODES = {"invalid_message", "not_started", "invalid_start", "timeout"}
STARTED = '{"request":"start","format":{"channels":2,"sample_rate":8000,"bit_depth":16,"is_float":false}}'
IN_CONTAINER = '{"request":"start","format":{"container":"auto"}}'


class Shell:
    """What carries the actions out, reduced to its rules."""

    def __init__(self) -> None:
        self.open = self.closed = False
        self.n_invalid = 0

    def perform(self, action: Action) -> None:
        assert not self.closed, f"{action} after Close"
        match action:
            case OpenSession(start):
                assert not self.open
                if isinstance(start.format, ContainerFormat):
                    assert start.format.container in (AUTO, *CONTAINERS)
                else:
                    assert 1 <= start.format.channels <= LIMITS.channels
                    assert start.format.frame_bytes >= 1
                self.open = True
            case Audio():
                assert self.open
            case Flush():
                assert self.open
            case FinishSession(error):
                assert self.open
                assert error is None or error.code == "invalid_media"
                self.open = False
            case Reply(event):
                assert isinstance(event, Error)
                assert event.code in CODES
                assert event.message
                self.n_invalid += event.code == "invalid_message"
                assert self.n_invalid <= LIMITS.invalid_messages
            case Close(reason, text):
                assert reason in (CloseReason.COMPLETED, CloseReason.INVALID, CloseReason.TIMEOUT)
                assert len(text.encode()) <= 123  # the most that a websocket can carry
                self.closed, self.open = True, False


def message(source: Source) -> str | bytes:
    kind = source.integer(0, 9)
    if kind == 0:
        return source.take(source.integer(0, 8))
    if kind == 1:
        return bytes(source.pick((0, 1, 1023, 1024, 1025)))
    if kind == 2:
        return source.take(source.integer(0, 30)).decode("utf-8", "replace")
    if kind == 3:
        fields = {
            "request": '"start"',
            "format": source.json_object(
                {"channels": source.json_number(), "sample_rate": "8000", "bit_depth": "16", "is_float": "false"}
            ),
            "vad": source.json_object({"threshold": source.json_number(), "max_segment_s": source.json_number()}),
            "turn": source.json_object({"threshold": source.json_number(), "max_silence_ms": source.json_number()}),
        }
        return source.json_object(fields)
    if kind == 4:
        return "é" * source.pick((511, 512, 513)) if source.flag() else " " * source.pick((1024, 1025))
    if kind in (5, 6):
        return STARTED if source.flag() else IN_CONTAINER
    if kind == 7:
        return json.dumps({"request": "stop", "disconnect": source.integer(0, 7) == 0})
    return json.dumps({"request": source.pick(["flush", "keep_alive"])})


def fuzz(data: bytes) -> None:
    source = Source(data)
    machine, shell = SessionMachine(LIMITS, VadConfig(), turn=TurnConfig("text")), Shell()
    while source.left:
        if source.integer(0, 15) == 0:
            actions = machine.receive_timeout(source.pick(["start", "idle"]))
        elif source.integer(0, 15) == 0:
            actions = machine.receive_media_error(BrokenMedia("no sync"))
        else:
            came = message(source)
            fast = machine.receive_audio(came) if isinstance(came, bytes) and source.flag() else receive(machine, came)
            actions = (Audio(came),) if fast is None and isinstance(came, bytes) else fast or ()
        for action in actions:
            shell.perform(action)
        assert (machine.open, machine.closed) == (shell.open, shell.closed)
        if machine.closed:
            assert receive(machine, STARTED) == receive(machine, b"ab") == machine.receive_timeout("idle") == ()
            return
        assert (machine.timeout_kind == "start") == (machine.start is None)


SEEDS = [bytes([1, 5, 1, 0, 0, 4, 1, 2, 3, 4, 1, 7, 0]), bytes([1, 2] * 40), bytes(range(256)) * 2]
