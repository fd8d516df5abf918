"""JSON messages of the APIs of other services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from voxgate.errors import InvalidMessage

__all__ = ["encode", "parse"]


def encode(message: Mapping[str, Any]) -> str:
    """`message` as the text of one JSON object."""
    return msgspec.json.encode(message).decode()


def parse(text: str) -> dict[str, Any]:
    """Raises InvalidMessage unless `text` is one JSON object."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidMessage("message: expected a JSON object with a type") from None
    if not isinstance(message, dict):
        raise InvalidMessage("message: expected a JSON object with a type")
    return message
