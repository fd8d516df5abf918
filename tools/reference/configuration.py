"""docs/configuration.md: every setting, its default, its range and its meaning."""

from __future__ import annotations

from typing import Any, Final

import tomli_w

from voxgate.config import SETTINGS
from voxgate.config.catalogue import SECTIONS

__all__ = ["configuration"]

_INTRODUCTION: Final = """\
# Configuration

<!-- Written by `make reference` from src/voxgate/config/sections. Change those, not this file. -->

Sources of settings, in rising priority:

1. the defaults below;
2. a file, TOML or JSON by its ending: that of `--config`, else `VOXGATE_CONFIG`, else `voxgate.toml` in the current
   directory;
3. the environment: `VOXGATE_<SECTION>_<KEY>`, such as `VOXGATE_LIMITS_STREAMS=200`. Numbers are written as in TOML,
   booleans as `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`;
4. the flags of the command line.

An unknown key or a value out of range stops the server with an error that names the key, the value, the allowed values
and the source. Both ends of a range are allowed. `voxgate serve --print-config` prints the settings in effect, as a
file that loads again.
"""

_MODEL_REFERENCE: Final = """\
Every other key of the section is an argument of the model's constructor: `VOXGATE_MODEL_<KEY>` in the environment,
`--set model.KEY=VALUE` on the command line. `VOXGATE_MODEL` is the name. In a file, the section may be the name alone:
`model = "dummy"`.

The annotations of the constructor give the types: `int`, `float`, `bool`, `str`, `list[...]`, `dict[...]`,
`Literal[...]`, `X | None`, an `Enum`, a `Path` and similar ones. Values are converted, or refused before the model is
made; lists and tables are JSON in the environment and on the command line (`--set 'model.labels=["a", "b"]'`). Without
an annotation, a value of a file keeps its type, and elsewhere `true`, `false`, numbers, JSON lists and JSON objects are
converted. The error for an unknown argument lists the known ones.

Sources combine: `VOXGATE_MODEL_DELAY=0.1` with `--model dummy` is one delay. A source that names another model drops
the arguments of earlier sources, with a warning.

The `config.json` of streamer-template loads unchanged: a `model` object without a name, with `delay`,
`constant_factor`, `jitter`, `failure_rate`, `panic_rate` or `warmup_penalty`, configures the `dummy` model.
"""

_OTHER_VARIABLES: Final = """\
## Variables that are not settings

| variable | meaning |
|---|---|
| `VOXGATE_CONFIG` | path of the file |
| `VOXGATE_TOKEN` | the token of `voxgate client` and `voxgate load` |
| `VOXGATE_ISA` | instruction set of the kernels: `portable`, `avx2`, `avx512`, `avx512vnni` or `neon` |
| `VOXGATE_BUILD` | the kind of build, when the package is built |

Other variables that start with `VOXGATE_` are errors, except those of Kubernetes for a Service named `voxgate` or
`voxgate-...`, which are ignored: `VOXGATE_SERVICE_HOST`, `VOXGATE_PORT=tcp://...` and similar ones.
"""


def _toml(value: Any) -> str:
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def configuration() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for section, kind in SECTIONS.items():
        lines = [f"## {section}", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()), ""]
        if section == "limits":
            lines += ["[The page on limits](limits.md) says what happens at each, also at those of other sections.", ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for setting in SETTINGS.values():
            if not setting.key.startswith(f"{section}."):
                continue
            default = "not set" if setting.default is None else f"`{_toml(setting.default)}`"
            name = setting.key.partition(".")[2]
            meaning = setting.description.replace("|", "\\|")
            is_plain = setting.kind in (bool, str) and not setting.choices  # the default shows what is allowed
            lines.append(f"| `{name}` | {default} | {'' if is_plain else setting.allowed} | {meaning} |")
        parts.append("\n".join(lines) + "\n")
        if section == "model":
            parts.append(_MODEL_REFERENCE)
    parts.append(_OTHER_VARIABLES)
    return "\n".join(parts)
