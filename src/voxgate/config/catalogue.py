"""The catalogue of all settings: key, type, default, range and meaning, read from the annotations of the sections."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from .settings import Config

__all__ = ["SECTIONS", "SETTINGS", "Setting", "plain"]


class Setting(NamedTuple):
    """One setting, as the loader and the reference see it. Both ends of its range are allowed."""

    key: str
    """Section and name, joined by a dot."""
    kind: type
    """bool, int, float or str."""
    type: Any
    """``kind`` with its range, as msgspec checks it; without None."""
    is_optional: bool
    """Whether None is allowed: the setting is not set."""
    default: Any
    description: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    """The values of a string; empty: any. ``or_attribute`` also allows ``pkg.module:attr``."""
    or_attribute: bool
    is_secret: bool
    """Never printed, logged or quoted in an error."""

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if self.or_attribute:
            return f"{', '.join(self.choices)} or pkg.module:attr"
        if self.choices:
            return " or ".join(filter(None, [", ".join(self.choices[:-1]), self.choices[-1]]))
        if self.minimum is not None:
            return f"{plain(self.minimum)}..{plain(self.maximum)}"
        return {"bool": "true or false", "str": "a string"}[self.kind.__name__]


def plain(value: Any) -> str:
    """A value as text; a float that is a whole number has no point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


SECTIONS: Final[dict[str, type[Struct]]] = {
    name: kind for name, kind in typing.get_type_hints(Config).items() if isinstance(kind, type)
}


def _settings() -> Iterator[Setting]:
    for section, struct in SECTIONS.items():
        defaults = struct()
        for name, hint in typing.get_type_hints(struct, include_extras=True).items():
            is_optional = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
            if is_optional:
                hint = typing.get_args(hint)[0]
            if typing.get_origin(hint) is not Annotated:
                continue  # the options of the model
            base, meta = typing.get_args(hint)
            assert isinstance(meta, Meta)
            assert meta.description is not None
            extra = meta.extra or {}
            is_literal = typing.get_origin(base) is Literal
            yield Setting(
                key=f"{section}.{name}",
                kind=str if is_literal else base,
                type=hint,
                is_optional=is_optional,
                default=getattr(defaults, name),
                description=meta.description,
                minimum=meta.ge,
                maximum=meta.le,
                choices=typing.get_args(base) if is_literal else extra.get("choices", ()),
                or_attribute=extra.get("or_attribute", False),
                is_secret=extra.get("is_secret", False),
            )


SETTINGS: Final = {setting.key: setting for setting in _settings()}
