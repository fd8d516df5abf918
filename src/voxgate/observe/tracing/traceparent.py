"""The `traceparent` of W3C Trace Context."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Parent", "parse_traceparent"]

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of a caller, below which a span of this process belongs."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int
    state: str = ""
    """The `tracestate` that came with it."""


def parse_traceparent(text: str | None, state: str | None = None) -> Parent | None:
    """The parent in a `traceparent`; None when there is none or it is invalid, which W3C says is no error."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(trace_id, span_id, int(flags, 16), state or "")
