"""The settings in effect: from the defaults, a file, the environment and overrides, checked once."""

from __future__ import annotations

import datetime
import difflib
import json
import logging
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from voxgate.errors import ConfigError, shown

from .catalogue import SECTIONS, SETTINGS, Setting, plain
from .option_text import FLOAT, INTEGER, OptionText
from .settings import Config

__all__ = ["load_config"]

logger = logging.getLogger(__name__)

#: The knobs of the dummy model in the ``model`` object of a streamer-template ``config.json``.
_DUMMY_KNOBS: Final = frozenset({"delay", "constant_factor", "jitter", "failure_rate", "panic_rate", "warmup_penalty"})
#: Environment variables that start with VOXGATE_ and are not settings.
_RESERVED_VARIABLES: Final = frozenset({"VOXGATE_CONFIG", "VOXGATE_ISA", "VOXGATE_BUILD", "VOXGATE_TOKEN"})
_PREFIX: Final = "VOXGATE_"
#: The variables that Kubernetes sets in every container for a Service whose name begins with "voxgate", unless
#: enableServiceLinks is false; for example VOXGATE_METRICS_PORT=tcp://10.0.0.1:9100 for voxgate-metrics.
_SERVICE_LINK: Final = re.compile(
    r"VOXGATE(_[A-Z0-9]+)*_(SERVICE_HOST=[0-9a-f.:]+|SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+|"
    r"PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.+|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.+)"
)
_DEFAULT_PATH: Final = "voxgate.toml"
_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_ECHO_CHARACTERS: Final = 80


def load_config(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    on_notice: Callable[[str], object] = logger.warning,
    default_path: str | None = _DEFAULT_PATH,
    flags: Mapping[str, str] | None = None,
) -> Config:
    """The effective settings: defaults < file < environment < overrides.

    ``path`` is a .toml or .json file. Without it, ``VOXGATE_CONFIG`` names one; without that, `default_path` in the
    current directory is read if it exists (None: no file). ``environ``: None is the environment of the process.
    ``overrides`` are values by dotted key (``"server.port"``), as flags give them: None means "not given", and a string
    is converted to the type of the setting. ``flags``: what a person typed for an override, by key, such as
    ``--port``; errors name that. ``"model"`` is short for ``"model.name"``, and any other
    ``"model.<name>"`` is an argument of the model's constructor.

    The options of the model are combined from all sources; those given as text are converted by the model (see
    OptionText). A source that names a different model than an earlier source drops the earlier options, because they
    belong to the other model; `on_notice` gets a sentence about it.

    Raises ConfigError naming the key, the value, the allowed values, and the source.
    """
    environ = os.environ if environ is None else environ
    loader = _Loader(on_notice)
    if path is None:
        path = environ.get("VOXGATE_CONFIG") or None
    if path is not None:
        loader.add_file(Path(path))
    elif default_path is not None and Path(default_path).is_file():
        loader.add_file(Path(default_path))
    loader.add_environment(environ)
    loader.add_overrides(overrides or {}, flags or {})
    return loader.finish()


class _Loader:
    def __init__(self, on_notice: Callable[[str], object]) -> None:
        self.on_notice = on_notice
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.model_name: str | None = None  # None: no source named the model, and options belong to any
        self.model_options: dict[str, Any] = {}
        self.option_sources: dict[str, str] = {}
        self.nameless: ConfigError | None = None  # raised when no other source names the model

    # sources

    def add_file(self, path: Path) -> None:
        source = f"file {path}"
        content = _read(path)
        model: Mapping[str, Any] = {}
        for section, table in content.items():
            if section not in SECTIONS:
                raise _unknown_section(section, source)
            if section == "model" and isinstance(table, str):
                table = {"name": table}
            if not isinstance(table, dict):
                raise ConfigError(f"{section}: expected a table of settings, got {_shown(table)} ({source})")
            if section == "model":
                model = table
                continue
            for name, value in table.items():
                self.set(f"{section}.{name}", value, source, is_text=False)
        if model and "name" not in model:
            if not _DUMMY_KNOBS.issuperset(model):
                self.nameless = ConfigError(
                    f"model.name: expected the name of the model that {_listed(sorted(model))} belong to, "
                    f"got nothing ({source})"
                )
            else:
                model = {"name": "dummy", **model}
        self.set_model(model, dict.fromkeys(model, source), is_text=False)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        model: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for variable in sorted(environ):
            if not variable.startswith(_PREFIX) or variable in _RESERVED_VARIABLES:
                continue
            source = f"environment {variable}"
            section, _, name = variable.removeprefix(_PREFIX).lower().partition("_")
            if section != "model" and _SERVICE_LINK.fullmatch(f"{variable}={environ[variable]}"):
                continue
            if section == "model":
                name = name or "name"
                if name in model:
                    raise ConfigError(f"model.{name}: expected once, got several ({sources[name]}; {source})")
                model[name], sources[name] = environ[variable], source
            else:
                if section not in SECTIONS or not name:
                    raise _unknown_variable(variable)
                self.set(f"{section}.{name}", environ[variable], source, is_text=True)
        self.set_model(model, sources, is_text=True)

    def add_overrides(self, overrides: Mapping[str, Any], flags: Mapping[str, str]) -> None:
        model: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for key, value in overrides.items():
            if value is None:
                continue
            source = f"flag {flags.get(key, key)}"
            section, _, name = key.partition(".")
            if section == "model":
                model[name or "name"], sources[name or "name"] = value, source
            else:
                if section not in SECTIONS or not name:
                    raise _unknown_section(section, source)
                self.set(key, value, source, is_text=isinstance(value, str))
        self.set_model(model, sources, is_text=True)

    # values

    def set(self, key: str, value: Any, source: str, *, is_text: bool) -> None:
        setting = SETTINGS.get(key)
        if setting is None:
            raise _unknown_key(key, source)
        self.values[key] = _convert(setting, value, source, is_text=is_text)
        self.sources[key] = source

    def set_model(self, model: Mapping[str, Any], sources: Mapping[str, str], *, is_text: bool) -> None:
        if "name" in model:
            name = _convert(SETTINGS["model.name"], model["name"], sources["name"], is_text=False)
            if self.model_name not in (None, name):
                self.drop_options(name, sources["name"])
            self.model_name = name
        for name, value in model.items():
            if name == "name":
                continue
            if not name.isidentifier():
                raise ConfigError(
                    f"model.{name}: expected the name of a constructor argument, got {_shown(name)} ({sources[name]})"
                )
            if is_text and isinstance(value, str):
                value = OptionText(value)
            _check_option(f"model.{name}", value, sources[name])
            self.model_options[name], self.option_sources[name] = value, sources[name]

    def drop_options(self, name: str, source: str) -> None:
        """Drop the options so far: `source` names `name`, and they belong to another model."""
        if self.model_options:
            dropped = _listed([f"{option} ({self.option_sources[option]})" for option in self.model_options])
            self.on_notice(
                f"options of the model {_shown(self.model_name)} are not used, because {source} names "
                f"{_shown(name)}: {dropped}"
            )
        self.model_options.clear()
        self.option_sources.clear()

    def finish(self) -> Config:
        if self.nameless is not None and self.model_name is None:
            raise self.nameless
        if "vad.negative_threshold" not in self.values and "vad.threshold" in self.values:
            # As for a client that sends a threshold alone (vad.VadConfig.changed).
            default = SETTINGS["vad.negative_threshold"].default
            self.values["vad.negative_threshold"] = min(default, self.values["vad.threshold"])
        if "turn.unfinished_threshold" not in self.values and "turn.threshold" in self.values:
            default = SETTINGS["turn.unfinished_threshold"].default
            self.values["turn.unfinished_threshold"] = min(default, self.values["turn.threshold"])
        self._ordered("vad.negative_threshold", "vad.threshold")
        self._ordered("turn.unfinished_threshold", "turn.threshold")
        self._ordered("limits.min_sample_rate", "limits.max_sample_rate")
        self._ordered("simple.min_chunk_ms", "simple.max_chunk_s", 1000)
        self._same("inference.engine", "inference.isolation")
        if self.values.get("limits.redis_fails") == "closed" and "limits.redis_url" not in self.values:
            raise ConfigError(
                f"limits.redis_fails is closed: expected limits.redis_url too ({self.sources['limits.redis_fails']})"
            )
        sections: dict[str, Any] = {}
        for section, kind in SECTIONS.items():
            prefix = f"{section}."
            given = {key.removeprefix(prefix): self.values[key] for key in self.values if key.startswith(prefix)}
            if section == "model":
                given = {"options": self.model_options}
                if self.model_name is not None:
                    given["name"] = self.model_name
            sections[section] = kind(**given)
        return Config(**sections)

    def _same(self, name: str, synonym: str) -> None:
        """Moves the value of a synonym to the name of the setting."""
        value = self.values.pop(synonym, None)
        if value is None:
            return
        if self.values.setdefault(name, value) != value:
            sources = f"{self.sources[name]}; {self.sources[synonym]}"
            raise ConfigError(
                f"{name} and its older name {synonym} must agree, got {plain(self.values[name])} and {plain(value)}"
                f" ({sources})"
            )

    def _ordered(self, low: str, high: str, factor: float = 1) -> None:
        values = [self.values.get(key, SETTINGS[key].default) for key in (low, high)]
        if values[0] > values[1] * factor:
            sources = "; ".join(dict.fromkeys(self.sources.get(key, "default") for key in (low, high)))
            raise ConfigError(f"{low} must be at most {high} ({plain(values[1])}), got {plain(values[0])} ({sources})")


def _read(path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".json"):
        raise ConfigError(f"{path}: expected a file that ends in .toml or .json")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, got {error.reason} at byte {error.start}") from None
    try:
        content = tomllib.loads(text) if suffix == ".toml" else json.loads(text, object_pairs_hook=_unique)
    except ConfigError as error:
        raise ConfigError(f"{error} (file {path})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected {suffix[1:].upper()}, got {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected an object of sections, got {_shown(content)}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ConfigError(f"{key}: expected once, got several")
        table[key] = value
    return table


def _convert(setting: Setting, value: Any, source: str, *, is_text: bool) -> Any:
    if setting.is_optional and (value is None or (is_text and value == "")):
        return None
    # A person who typed a flag reads its name, and not that of the setting.
    name, place = (source.removeprefix("flag "), "") if source.startswith("flag --") else (setting.key, f" ({source})")
    if setting.is_secret and type(value) is not str:
        raise ConfigError(f"{name} must be a string, got something else{place}")
    try:
        result = msgspec.convert(_from_text(setting.kind, value) if is_text else value, setting.type)
        if not isinstance(result, str) or _is_unicode(result):
            return result
    except msgspec.ValidationError:
        pass
    if setting.is_secret:
        raise ConfigError(f"{name} must be a string of Unicode characters{place}")
    type_name = {int: "an integer ", float: "a number "}.get(setting.kind, "")
    close = difflib.get_close_matches(str(value), setting.choices, 1) if setting.choices else []
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ConfigError(f"{name} must be {type_name}{setting.allowed}, got {_shown(value)}{hint}{place}")


def _from_text(kind: type, text: str) -> Any:
    """The value of a setting of this kind that the text stands for, or None."""
    if kind is str:
        return text
    text = text.strip()
    if kind is bool:
        return _BOOLEANS.get(text.lower())
    if kind is int:
        return int(text) if INTEGER.fullmatch(text) and len(text) < 64 else None
    return float(text) if FLOAT.fullmatch(text) else None


def _check_option(key: str, value: Any, source: str) -> None:
    """Refuse what TOML has no form for: every configuration can be printed and read again."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or not _is_unicode(name):
                raise ConfigError(f"{key}: expected keys that are strings, got {_shown(name)} ({source})")
            _check_option(f"{key}.{name}", item, source)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_option(f"{key}[{index}]", item, source)
    elif value is None:
        raise ConfigError(f"{key}: expected a value, got null; leave the key out instead ({source})")
    elif isinstance(value, str):
        if not _is_unicode(value):
            raise ConfigError(f"{key}: expected a string of Unicode characters, got {_shown(value)} ({source})")
    elif not isinstance(value, bool | int | float | datetime.date | datetime.time):
        raise ConfigError(
            f"{key}: expected a string, number, boolean, date, list or table, got {type(value).__name__} ({source})"
        )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# errors


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return ascii(value) if isinstance(value, str) and not _is_unicode(value) else shown(value)


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _unknown_section(section: str, source: str) -> ConfigError:
    close = difflib.get_close_matches(section, SECTIONS, 1)
    keys = [key for key in SETTINGS if key.rpartition(".")[2] == section]
    hint = f" (did you mean {(keys or close)[0]}?)" if keys or close else ""
    return ConfigError(f"{_cut(section)}: unknown section{hint}; sections: {_listed(list(SECTIONS))} ({source})")


def _unknown_key(key: str, source: str) -> ConfigError:
    section, _, name = key.partition(".")
    names = [known.partition(".")[2] for known in SETTINGS if known.startswith(f"{section}.")]
    elsewhere = [known for known in SETTINGS if known.partition(".")[2] == name]
    close = [f"{section}.{match}" for match in difflib.get_close_matches(name, names, 1)]
    hint = f" (did you mean {(close or elsewhere)[0]}?)" if close or elsewhere else ""
    return ConfigError(f"{_cut(key)}: unknown setting{hint}; settings in {section}: {_listed(names)} ({source})")


def _unknown_variable(variable: str) -> ConfigError:
    known = [_variable(key) for key in SETTINGS] + ["VOXGATE_MODEL", *_RESERVED_VARIABLES]
    bare = [_variable(key) for key in SETTINGS if _variable(key.partition(".")[2]) == variable]  # without its section
    close = bare or difflib.get_close_matches(variable, known, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return ConfigError(
        f"{_cut(variable)}: unknown variable{hint}; settings are VOXGATE_<SECTION>_<KEY>, "
        f"sections: {_listed(list(SECTIONS))} (environment {_cut(variable)})"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _ECHO_CHARACTERS else f"{text[: _ECHO_CHARACTERS - 1]}…"


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "_").upper()
