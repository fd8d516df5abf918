"""The settings in effect, as TOML."""

from __future__ import annotations

from typing import Any

import tomli_w

from .catalogue import SECTIONS, SETTINGS
from .option_text import OptionText
from .settings import Config

__all__ = ["dump_toml", "plain_options"]


def dump_toml(config: Config) -> str:
    """The settings as TOML that loads as an equal Config, except for secrets. A secret, and a setting without a value,
    is a comment.
    """
    parts: list[str] = []
    for section in SECTIONS:
        values = getattr(config, section)
        parts.append(f"[{section}]\n")
        for setting in SETTINGS.values():
            name = setting.key.removeprefix(f"{section}.")
            if name == setting.key:
                continue
            value = getattr(values, name)
            if setting.is_secret and value:
                parts.append(f"# {name} is set, and not shown\n")
            elif value is None:
                parts.append(f"# {name} is not set\n")
            else:
                parts.append(tomli_w.dumps({name: value}))
        if section == "model":
            parts.append(tomli_w.dumps({"model": plain_options(config)}).removeprefix("[model]\n"))
        parts.append("\n")
    return "".join(parts).removesuffix("\n")


def plain_options(config: Config) -> dict[str, Any]:
    """The options of the model as plain values; those that came as text, as the values that they look like."""
    return {name: _typed(value) for name, value in config.model.options.items()}


def _typed(value: Any) -> Any:
    """An option that came as text, as the value that it looks like."""
    if not isinstance(value, OptionText):
        return value
    return str(value) if _has_null(value.guess) else value.guess


def _has_null(value: Any) -> bool:
    """Whether a JSON value has no form in TOML."""
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None
