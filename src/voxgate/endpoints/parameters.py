"""The query of a request on the API of another service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from voxgate.errors import InvalidStart, shown

__all__ = ["Parameters", "model_options"]

MAX_PARAMETERS: Final = 1000
MAX_DIGITS: Final = 9

_TRUE: Final = ("true", "1", "")
_FALSE: Final = ("false", "0")


class Parameters:
    """The parameters by name. A parameter that is repeated has its last value, except for `all`."""

    def __init__(self, query: bytes) -> None:
        """Raises InvalidStart for a query that is no ASCII, or has too many parameters."""
        self._values: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise InvalidStart(
                f"query: expected at most {MAX_PARAMETERS} parameters in ASCII, percent-encoded"
            ) from None
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """Every value, in order."""
        return self._values.get(name, [])

    def text(self, name: str) -> str | None:
        values = self._values.get(name)
        return None if values is None else values[-1]

    def asks_for(self, name: str) -> bool:
        """Whether the parameter is there with a value other than `false`."""
        return any(value.lower() not in _FALSE for value in self.all(name))

    def options(
        self, schema: Mapping[str, Any] | None, aliases: Mapping[str, str], own: Collection[str]
    ) -> dict[str, Any] | None:
        """The options of the model that the query names, as plain data; None: none of them.

        `schema`: of the model's options, None when it takes none. `aliases`: the API's names for options of another
        name. `own`: parameters of the API that are never options of a model.
        """
        return model_options(self.all, schema, aliases, own)

    def flag(self, name: str) -> bool:
        """Raises InvalidStart unless the value is `true` or `false`."""
        text = self.text(name)
        if text is None or text.lower() in _FALSE:
            return False
        if text.lower() in _TRUE:
            return True
        raise InvalidStart(f"{name}: expected true or false, got {shown(text)}")

    def number(self, name: str) -> int | None:
        """Raises InvalidStart unless the value is a whole number."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise InvalidStart(f"{name}: expected a whole number, got {shown(text)}")
        return int(text)


def model_options(
    values_of: Callable[[str], Sequence[str]],
    schema: Mapping[str, Any] | None,
    aliases: Mapping[str, str],
    own: Collection[str] = (),
) -> dict[str, Any] | None:
    """As `Parameters.options`, of texts by name: `values_of` is given a name, and returns none for one that is not
    there.
    """
    options: dict[str, Any] = {}
    properties: Mapping[str, Any] = {} if schema is None else schema.get("properties", {})
    for name, described in properties.items():
        values = [] if name in own else values_of(name) or values_of(aliases.get(name, name))
        if values:
            options[name] = _value(values, _types_of(described))
    return options or None


def _types_of(described: Mapping[str, Any]) -> set[str]:
    """The types that JSON Schema allows."""
    parts = [described, *described.get("anyOf", ())]
    return {part["type"] for part in parts if isinstance(part.get("type"), str)}


def _value(values: Sequence[str], types: Collection[str]) -> Any:
    """Text as the type that the model expects; the model's own check says what is wrong with any other."""
    if "array" in types:
        return _list(values[0]) if len(values) == 1 and values[0].startswith("[") else list(values)
    text = values[-1]
    if "string" in types:
        return text
    if "boolean" in types and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return text


def _list(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return [text]
