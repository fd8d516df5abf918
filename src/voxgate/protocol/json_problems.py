"""What is wrong with a JSON message of the native wire, for people: what was expected, and what came."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

import msgspec
from msgspec import UNSET, UnsetType

from voxgate.errors import MAX_SHOWN_CHARACTERS, shown
from voxgate.protocol.requests import Segmentation

__all__ = ["AT", "MISSING", "describe", "explain", "explain_malformed", "value_at"]

_REQUESTS: Final = ("start", "stop", "flush", "clear", "keep_alive")

# What a required field should have been, for the error that says it is missing.
_REQUIRED: Final = {
    "format": "object",
    "format.channels": "int",
    "format.sample_rate": "int",
    "format.bit_depth": "int",
    "format.is_float": "bool",
    "format.container": "str",
}
_CHOICES: Final = {"segmentation": get_args(Segmentation)}
_SECRET: Final = frozenset({"token"})

_EXPECTED_GOT = re.compile(r"Expected `(.+?)`(?:, got `(.+)`)?", re.DOTALL)
MISSING = re.compile(r"Object missing required field `(\w+)`")
AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "array",
    dict: "object",
    type(None): "null",
}


def explain_malformed(problem: str) -> str:
    """`problem`: the text of a msgspec.DecodeError."""
    # The decoder's text holds a reason and a byte position, never the message itself.
    if problem == "Input data was truncated":
        return "message: expected JSON, got text that ends too early"
    return "message: expected JSON, got " + problem.removeprefix("JSON is malformed: ")[:MAX_SHOWN_CHARACTERS]


def explain(problem: str, text: str | bytes) -> str:
    """`problem`: the text of a msgspec.ValidationError about the request `text`, of which it quotes little."""
    at = AT.fullmatch(problem)
    problem, path = (at[1], at[2]) if at else (problem, "")
    if missing := MISSING.fullmatch(problem):
        name = f"{path}.{missing[1]}" if path else missing[1]
        if name == "request":
            return _must_be_request("nothing")
        return f"{name}: expected {_REQUIRED[name]}, got nothing"
    if path == "request":
        value = value_at(text, path)
        if value in _REQUESTS:
            return "request: expected once, got several"
        return _must_be_request(shown(value) if isinstance(value, str) else describe(value, path))
    if path in _CHOICES:
        choices = " or ".join(f'"{choice}"' for choice in _CHOICES[path])
        return f"{path}: expected {choices}, got {describe(value_at(text, path), path)}"
    if match := _EXPECTED_GOT.fullmatch(problem):
        expected, got = match[1].replace(" | ", " or "), match[2]
        value = value_at(text, path)
        came = describe(value, path)
        if got is not None and came.split(" ", 1)[0] != got:
            came = got  # the field came more than once, and the last of them is not the one that was wrong
        return f"{path or 'message'}: expected {expected}, got {came}"
    return f"{path or 'message'}: {problem[:MAX_SHOWN_CHARACTERS]}"


def _must_be_request(came: str) -> str:
    return f"request must be one of {', '.join(_REQUESTS)}, got {came}"


def value_at(text: str | bytes, path: str) -> Any:
    """The value at a dotted path of a message that is known to be JSON up to there; UNSET when there is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNSET
    for name in path.split(".") if path else ():
        value = value.get(name, UNSET) if isinstance(value, dict) else UNSET
    return value


def describe(value: Any, path: str) -> str:
    """The JSON type of a value, and the value itself unless it is a container or a secret."""
    name = _TYPE_NAMES.get(type(value), "something else")
    if value is None or isinstance(value, list | dict | UnsetType) or path.rpartition(".")[2] in _SECRET:
        return name
    return f"{name} {shown(value)}"
