"""The settings in effect, as TOML."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from .option_text import OptionText
from .settings import SECTIONS, SETTINGS, Config

__all__ = ["dump_toml"]


def dump_toml(config: Config) -> str:
    """The settings as TOML that loads back to an equal Config, but for secrets. A setting without a value stands as a
    comment, and so does a secret.
    """
    lines: list[str] = []
    for section in SECTIONS:
        values = getattr(config, section)
        lines.append(f"[{section}]")
        for setting in SETTINGS.values():
            name = setting.key.removeprefix(f"{section}.")
            if name == setting.key:
                continue
            value = getattr(values, name)
            if setting.about.secret and value:
                lines.append(f"# {name} is set, and not shown")
                continue
            lines.append(f"# {name} is not set" if value is None else f"{name} = {_toml(value)}")
        if section == "model":
            lines += [f"{_toml_key(name)} = {_toml(value)}" for name, value in config.model.options.items()]
        lines.append("")
    return "\n".join(lines)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml(key)


def _toml(value: Any) -> str:
    if isinstance(value, OptionText):
        guess = value.guess
        return _toml(str(value) if _holds_null(guess) else guess)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A basic string has JSON's escapes; only DEL must be escaped here and need not be there.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)  # inf and nan are written alike in both languages
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    raise AssertionError(f"a checked option is never a {type(value).__name__}")


def _holds_null(value: Any) -> bool:
    """Whether a JSON value cannot be said in TOML."""
    if isinstance(value, dict):
        return any(map(_holds_null, value.values()))
    return any(map(_holds_null, value)) if isinstance(value, list) else value is None
