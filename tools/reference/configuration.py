"""docs/configuration.md: every setting, its default, its range and its meaning."""

from __future__ import annotations

import re
from typing import Final

from voxgate.config import SETTINGS, Config, dump_toml
from voxgate.config.settings import SECTIONS

__all__ = ["configuration"]

_INTRODUCTION: Final = """\
# Configuration

<!-- Written by `make reference` from src/voxgate/config/settings.py. Change that, not this file. -->

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

_MODEL_REFERENCE: Final = """\
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

_OTHER_VARIABLES: Final = """\
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


def configuration() -> str:
    """The page."""
    document = dump_toml(Config())
    defaults = _values(document)
    parts = [_INTRODUCTION]
    for section, kind in SECTIONS.items():
        lines = [f"## {section}", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for setting in SETTINGS.values():
            if not setting.key.startswith(f"{section}."):
                continue
            default = "not set" if setting.default is None else f"`{defaults[setting.key]}`"
            name = setting.key.partition(".")[2]
            lines.append(f"| `{name}` | {default} | {setting.allowed} | {setting.about.text} |")
        parts.append("\n".join(lines) + "\n")
        if section == "model":
            parts.append(_MODEL_REFERENCE)
    parts.append(_OTHER_VARIABLES)
    parts.append("## All defaults as a file\n\n```toml\n" + document.rstrip("\n") + "\n```\n")
    return "\n".join(parts)


def _values(document: str) -> dict[str, str]:
    """The values of a file of settings as it writes them, by the dotted names of the settings."""
    found, section = {}, ""
    for line in document.splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif entry := re.fullmatch(r"(\w+) = (.+)", line):
            found[f"{section}.{entry[1]}"] = entry[2]
    return found
