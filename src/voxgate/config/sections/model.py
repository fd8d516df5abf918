"""The settings of the section ``model``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, field

__all__ = ["ModelSettings"]


class ModelSettings(Struct, frozen=True, kw_only=True):
    """The model, and the arguments of its constructor.

    In a file, every key of the section but ``name`` is such an argument; the section may also be a plain string, the
    name alone.
    """

    name: Annotated[
        str,
        Meta(
            min_length=1,
            description=(
                "A built-in or installed name, `name:ARGUMENT`, or `pkg.module:attr` of a model or "
                "function. `auto`: `moonshine` if its extra is installed, else `features`."
            ),
        ),
    ] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
