"""docs/configuration.md: every setting, its default, its range and its meaning."""

from __future__ import annotations

from typing import Any, Final

import tomli_w

from voxgate.config import SETTINGS, Config, dump_toml
from voxgate.config.catalogue import SECTIONS

__all__ = ["configuration"]

_INTRODUCTION: Final = """\
# Configuration

<!-- Written by `make reference` from src/voxgate/config/sections. Change those, not this file. -->

Every setting has a default. Sources, in rising priority:

1. the defaults below;
2. a file: that of `--config`, else that of `VOXGATE_CONFIG`, else `voxgate.toml` in the current directory if it exists.
   A file that ends in `.json` is read as JSON, `.toml` as TOML;
3. the environment: `VOXGATE_<SECTION>_<KEY>`, for example `VOXGATE_LIMITS_STREAMS=200`;
4. the flags of the command line.

An unknown key or a value that is not allowed stops the server with an error that names the key, the value, the allowed
values, and the source. `voxgate serve --print-config` prints the settings in effect, as a file that loads again.
Numbers in the environment are written as in TOML; booleans are `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
Both ends of a range are allowed.
"""

_MODEL_REFERENCE: Final = """\
Every other key of the section is an argument of the model's constructor, and depends on the model. In the
environment, `VOXGATE_MODEL` is the name and `VOXGATE_MODEL_<KEY>` an argument. In a file, the section may be a plain
string, the name alone: `model = "dummy"`.

The annotations of the constructor give the types of its arguments: `int`, `float`, `bool`, `str`, `list[...]`,
`dict[...]`, `Literal[...]`, `X | None`, an `Enum`, a `Path` and similar ones. A value of any source is converted to
that type, or refused before the model is made; a list or a table is written as JSON in the environment and on the
command line (`--set 'model.labels=["a", "b"]'`). For an argument without an annotation, a value of a file keeps its
type; from the environment and the command line, `true`, `false`, numbers, JSON lists and JSON objects are converted,
and everything else is a string. An unknown argument is refused, and the error lists the known ones.

The `config.json` of streamer-template loads as it is: a `model` object without a name, with `delay`,
`constant_factor`, `jitter`, `failure_rate`, `panic_rate` or `warmup_penalty`, means the `dummy` model with these
arguments.

Arguments of several sources are combined, and may come from another source than the name: `VOXGATE_MODEL_DELAY=0.1`
with `--model dummy` is one delay. A source that names a different model than an earlier source drops the earlier
arguments, which belong to that model, and a warning in the log names them.
"""

_OTHER_VARIABLES: Final = """\
## Variables that are not settings

| variable | meaning |
|---|---|
| `VOXGATE_CONFIG` | path of the file |
| `VOXGATE_ISA` | forces the instruction set of the compiled kernels: `portable`, `avx2`, `avx512`, `avx512vnni` or `neon` |
| `VOXGATE_BUILD` | the kind of build, when the package is built |
| `VOXGATE_TOKEN` | the credentials of `voxgate client` |

Any other variable that starts with `VOXGATE_` is an error, because it may be a misspelt setting. The variables that
Kubernetes sets for a Service named `voxgate` or `voxgate-...` are ignored: `VOXGATE_SERVICE_HOST`,
`VOXGATE_PORT=tcp://...`, `VOXGATE_PORT_80_TCP_ADDR` and similar ones.
"""


def _toml(value: Any) -> str:
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def configuration() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for section, kind in SECTIONS.items():
        lines = [f"## {section}", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for setting in SETTINGS.values():
            if not setting.key.startswith(f"{section}."):
                continue
            default = "not set" if setting.default is None else f"`{_toml(setting.default)}`"
            name = setting.key.partition(".")[2]
            lines.append(f"| `{name}` | {default} | {setting.allowed} | {setting.description} |")
        parts.append("\n".join(lines) + "\n")
        if section == "model":
            parts.append(_MODEL_REFERENCE)
    parts.append(_OTHER_VARIABLES)
    parts.append("## All defaults as a file\n\n```toml\n" + dump_toml(Config()).rstrip("\n") + "\n```\n")
    return "\n".join(parts)
