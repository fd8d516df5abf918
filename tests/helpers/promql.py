"""As much of PromQL as it takes to know which series an expression asks for."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*") | (?P<duration>\[[^\]]*\]) | (?P<name>[a-zA-Z_:$][a-zA-Z0-9_:]*)
        | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?) | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
        | (?P<space>\s+)""",
    re.VERBOSE,
)
_GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset"}


class Selector(NamedTuple):
    """One series selector: `name{label op "value", ...}`."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> list[Selector]:
    """All selectors of an expression. ValueError for what this does not understand."""
    tokens: list[tuple[str, str]] = []
    pos = 0
    while pos < len(expression):
        match = _TOKEN.match(expression, pos)
        if match is None:
            raise ValueError(f"no PromQL from here on: {expression[pos:]!r}")
        pos = match.end()
        if match.lastgroup not in ("space", "duration"):
            tokens.append((str(match.lastgroup), match.group()))
    found: list[Selector] = []
    i = 0
    while i < len(tokens):
        kind, text = tokens[i]
        after = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        i += 1
        if kind != "name" or text in _WORDS:
            continue
        if text in _GROUPINGS:
            while i < len(tokens) and tokens[i][1] != ")":
                i += 1
        elif after == "{":
            end = tokens.index(("operator", "}"), i)
            inside = [text for _, text in tokens[i + 1 : end] if text != ","]
            triples = zip(inside[0::3], inside[1::3], inside[2::3], strict=True)
            found.append(Selector(text, tuple((label, op, value[1:-1]) for label, op, value in triples)))
            i = end + 1
        elif after != "(" and (i >= len(tokens) or tokens[i][1] not in _GROUPINGS):
            found.append(Selector(text, ()))
    return found
