"""The class of a model's options, made from their JSON Schema: where the model runs in another process, the server does
not import it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["struct_of"]

_SCALARS: Final[dict[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_BOUNDS: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "minProperties": "min_length",
    "maxProperties": "max_length",
}


def struct_of(schema: dict[str, Any]) -> type[Struct]:
    """A class that accepts what the class accepts of which `SessionOptions` made the `schema`. A field that is left
    out stays out of its instances, so that the model's own default counts.

    What the schema cannot say, such as a ``__post_init__``, is not checked, nor is a field of a type that only the
    model's class knows.
    """
    return _Builder(schema.get("$defs", {})).struct(schema, "Options")


class _Builder:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._made: dict[str, Any] = {}

    def struct(self, schema: dict[str, Any], name: str) -> type[Struct]:
        required = schema.get("required", [])
        fields: list[Any] = []
        names: dict[str, str] = {}
        for index, (key, of_field) in enumerate(schema.get("properties", {}).items()):
            field = key if key.isidentifier() else f"field_{index}"
            names[field] = key
            kind = self._checked(of_field)
            fields.append((field, kind) if key in required else (field, kind | UnsetType, UNSET))
        return msgspec.defstruct(
            schema.get("title", name),
            fields,
            kw_only=True,
            rename=names,
            forbid_unknown_fields=schema.get("additionalProperties") is False,
        )

    def _checked(self, schema: dict[str, Any]) -> Any:
        """The type of a field; Any for one that msgspec could not decode."""
        try:
            kind = self._type(schema)
            msgspec.json.Decoder(kind | UnsetType)
        except TypeError:
            return Any
        return kind

    def _type(self, schema: dict[str, Any]) -> Any:
        if "$ref" in schema:
            return self._reference(schema["$ref"].rpartition("/")[2])
        if "anyOf" in schema:
            if "discriminator" in schema:
                return Any
            return Union[tuple(self._type(one) for one in schema["anyOf"])]  # noqa: UP007 -- of a list
        if "enum" in schema:
            return Literal[tuple(schema["enum"])]
        bounds = {name: schema[key] for key, name in _BOUNDS.items() if key in schema}
        kind = self._bare(schema)
        return Annotated[kind, Meta(**bounds)] if bounds else kind

    def _bare(self, schema: dict[str, Any]) -> Any:
        name = schema.get("type")
        if name in _SCALARS:
            return _SCALARS[name]
        if name == "array":
            return list[self._type(schema["items"])] if isinstance(schema.get("items"), dict) else list[Any]  # type: ignore[misc]
        if name != "object":
            return Any
        if "properties" in schema:
            return self.struct(schema, "Object")
        values = schema.get("additionalProperties")
        return dict[str, self._type(values)] if isinstance(values, dict) else dict[str, Any]  # type: ignore[misc]

    def _reference(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = Any  # for a class that refers to itself
            self._made[name] = self._type(self._definitions[name])
        return self._made[name]
