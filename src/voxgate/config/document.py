"""The settings as text: TOML of those in effect, and the reference of all of them."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

from .option_text import OptionText
from .settings import SECTIONS, SETTINGS, Config

__all__ = ["dump_toml", "reference"]


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


_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m voxgate.config`. Change the settings in src/voxgate/config/settings.py, not this file. -->

Every setting has a default; none must be given. Sources, in rising priority:

1. the defaults below;
2. a file: the one of `--config`, else the one that `VOXGATE_CONFIG` names, else `voxgate.toml` in the current directory
   if it is there. A name that ends in `.json` is read as JSON, `.toml` as TOML;
3. the environment: `VOXGATE_<SECTION>_<KEY>`, for example `VOXGATE_LIMITS_STREAMS=200`;
4. the flags of the command line.

An unknown key or a value that is not allowed stops the server with an error that names the key, the value, what is
allowed, and the source. `voxgate serve --print-config` prints what is in effect, as a file that can be loaded again.
Numbers in the environment are written as in TOML; booleans are `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
Both ends of a range are allowed.
"""

_MODEL_REFERENCE = """\
Every other key of the section is an argument of the model's constructor; what there is depends on the model. In the
environment, `VOXGATE_MODEL` is the name and `VOXGATE_MODEL_<KEY>` an argument. In a file, the section may be a plain
string, the name alone: `model = "dummy"`.

The constructor's annotations say which types its arguments have: `int`, `float`, `bool`, `str`, `list[...]`,
`dict[...]`, `Literal[...]`, `X | None`, an `Enum`, a `Path` and their like. Each value is converted to that type,
whichever source it comes from, or refused before the model is made; a list or a table is written as JSON in the
environment and on the command line (`--set 'model.labels=["a", "b"]'`). Where the constructor says nothing, a value of
a file keeps its type; from the environment and the command line, `true`, `false`, numbers, JSON lists and JSON objects
are converted, and everything else is a string. An argument that the constructor does not have is refused, with those
that it has.

The `config.json` of streamer-template loads as it is: a `model` object without a name, with `delay`, `constant_factor`,
`jitter`, `failure_rate`, `panic_rate` or `warmup_penalty`, means the `dummy` model with these arguments.

Arguments add up over the sources, and need not stand where the name stands: `VOXGATE_MODEL_DELAY=0.1` with
`--model dummy` is one delay. A source that names another model than a source before it drops the arguments so far,
which belong to that model, and a warning in the log names them.
"""

_OTHER_VARIABLES = """\
## Variables that are not settings

| variable | meaning |
|---|---|
| `VOXGATE_CONFIG` | path of the file |
| `VOXGATE_ISA` | forces the instruction set of the compiled kernels: `portable`, `avx2`, `avx512` or `neon` |
| `VOXGATE_BUILD` | read when the package is built: the kind of build |
| `VOXGATE_TOKEN` | read by `voxgate client`: its credentials |

Any other variable that starts with `VOXGATE_` is an error: it is a setting misspelt. What Kubernetes makes for a
Service named `voxgate` or `voxgate-...` is passed over: `VOXGATE_SERVICE_HOST`, `VOXGATE_PORT=tcp://...`,
`VOXGATE_PORT_80_TCP_ADDR` and their like.
"""


def reference() -> str:
    """The reference of all settings, in Markdown."""
    parts = [_INTRODUCTION]
    for section, kind in SECTIONS.items():
        lines = [f"## {section}", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for setting in SETTINGS.values():
            if not setting.key.startswith(f"{section}."):
                continue
            default = "not set" if setting.default is None else f"`{_toml(setting.default)}`"
            name = setting.key.partition(".")[2]
            lines.append(f"| `{name}` | {default} | {setting.allowed} | {setting.about.text} |")
        parts.append("\n".join(lines) + "\n")
        if section == "model":
            parts.append(_MODEL_REFERENCE)
    parts.append(_OTHER_VARIABLES)
    parts.append("## All defaults as a file\n\n```toml\n" + dump_toml(Config()).rstrip("\n") + "\n```\n")
    return "\n".join(parts)
