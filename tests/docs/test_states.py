"""The state diagram of chapter 4 is that of the session machine: every edge is walked, and there are no others."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.json_machine import receive
from voxgate.config import LimitsSettings
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.machine import Reply, SessionMachine
from voxgate.vad.config import VadConfig

DIAGRAM = Path(__file__).parents[2] / "docs/diagrams/server-states.dot"
EDGE = re.compile(r'^\s*(\w+) -> (\w+) \[on="([\w ]+)"', re.MULTILINE)

FORMAT = '{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}'
START = f'{{"request":"start","format":{FORMAT}}}'
STOP = '{"request":"stop"}'
LIMITS = LimitsSettings(invalid_messages=3)
INPUTS: dict[str, list[str | bytes]] = {
    "start": [START],
    "audio": [b"\0\0"],
    "flush": ['{"request":"flush"}'],
    "keep_alive": ['{"request":"keep_alive"}'],
    "stop": [STOP],
    "stop_disconnect": ['{"request":"stop","disconnect":true}'],
    "bad": ["{"],
    "bad_start": ['{"request":"start","format":' + FORMAT.replace("16000", "16") + "}"],
    "too_many": ["{"] * LIMITS.invalid_messages,
}
WAYS: dict[str, list[str | bytes]] = {
    "NO_START": [],
    "OPEN": [START],
    "STOPPED": [START, STOP],
    "CLOSED": [START, INPUTS["stop_disconnect"][0]],
}


def state_of(machine: SessionMachine) -> str:
    if machine.closed:
        return "CLOSED"
    if machine.open:
        return "OPEN"
    return "NO_START" if machine.start is None else "STOPPED"


def edges_of_the_machine() -> set[tuple[str, str, str]]:
    """What changes the state, or asks for more than an answer."""
    edges = set()
    for state, way in WAYS.items():
        for name in [*INPUTS, "too_long", "timeout"]:
            machine = SessionMachine(LIMITS, VadConfig())
            for message in way:
                receive(machine, message)
            assert state_of(machine) == state
            if name == "timeout":
                actions = machine.receive_timeout(machine.timeout_kind)
            elif name == "too_long":
                actions = machine.receive_close(Close(CloseReason.TOO_LARGE))
            else:
                actions = [action for message in INPUTS[name] for action in receive(machine, message)]
            if state_of(machine) != state or any(not isinstance(action, Reply) for action in actions):
                edges.add((state, name, state_of(machine)))
    return edges


def test_the_diagram_has_the_edges_of_the_machine():
    drawn = {
        (before, name, after)
        for before, after, names in EDGE.findall(DIAGRAM.read_text(encoding="utf-8"))
        for name in names.split()
    }

    assert drawn == edges_of_the_machine()
