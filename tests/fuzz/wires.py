"""What the targets of the APIs of other services share: queries, texts, and what models answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fuzz.source import Source
from voxgate.protocol.output import Output, UnsendableOutput

__all__ = ["model_output", "query", "text"]


def query(source: Source, names: Sequence[str]) -> bytes:
    """Any bytes, or parameters with `names`."""
    if source.flag():
        return source.take(source.integer(0, 40))
    pairs = [
        (source.pick(names), source.take(source.integer(0, 9)).decode("latin-1")) for _ in range(source.integer(0, 6))
    ]
    return "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8")


def text(source: Source, types: Sequence[str], **fields: Any) -> str:
    """Any text, or a message with one of `types`. `fields`: of the message beside it, as plain data."""
    kind = source.integer(0, 3)
    if kind == 0:
        return source.take(source.integer(0, 30)).decode("utf-8", "replace")
    if kind == 1:
        usual = {"type": source.json_text(), **dict.fromkeys(fields, source.json_number()), "x": source.json_number()}
        return source.json_object(usual)
    return json.dumps({"type": source.pick(types), **fields})


def model_output(source: Source) -> Output:
    """What the engine makes of a model's result; it refuses some, such as texts with lone surrogates."""
    said = json.loads(source.json_object({"text": source.json_text()}), strict=False) if source.flag() else {}
    words = [
        {"word": "a", "start": source.integer(-9, 9), "end": source.integer(-9, 9)} for _ in range(source.integer(0, 3))
    ]
    try:
        return Output.of({**(said if isinstance(said, dict) else {}), "words": words})
    except UnsendableOutput:
        return Output.of({"words": words})
