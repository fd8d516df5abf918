"""Every setting of the server: its type, default, range and meaning; loaded and checked once, frozen afterwards.

Sources in rising priority: the defaults, a TOML or JSON file, ``VOXGATE_<SECTION>_<KEY>`` environment variables, and
overrides (the command line's flags). A key that is unknown or a value that is out of range raises ConfigError naming
the key, the value, what is allowed, and the source.

``python -m voxgate.config`` prints the reference in Markdown (docs/configuration.md is that text).
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Struct, field

from .errors import ConfigError

__all__ = [
    "AudioSettings",
    "Config",
    "InferenceSettings",
    "LimitsSettings",
    "ModelSettings",
    "ServerSettings",
    "SimpleSettings",
    "VadSettings",
    "dump_toml",
    "load_config",
    "reference",
]


class About(NamedTuple):
    """What is known about a setting beyond its type. Both ends of the range are allowed."""

    text: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    or_attribute: bool = False  # beside the choices, "pkg.module:attr" is allowed


class ServerSettings(Struct, frozen=True, kw_only=True):
    """Where the server listens and how it talks about itself."""

    host: Annotated[str, About("Address to listen on; `0.0.0.0` or `::` for every interface.")] = "127.0.0.1"
    port: Annotated[int, About("TCP port to listen on; 0 takes any free one.", 0, 65535)] = 8080
    log_level: Annotated[
        str, About("Least severe level that is logged.", choices=("debug", "info", "warning", "error", "critical"))
    ] = "info"
    send_timeout_s: Annotated[
        float,
        About("A client that takes in nothing of what is sent to it for this long is cut off, in seconds.", 1, 3600),
    ] = 20.0
    receive_buffer_bytes: Annotated[
        int,
        About(
            "Receive buffer of a client's socket, in bytes. A small one holds a client back sooner, so that less audio "
            "stands before its pings; a large one carries more over a long way: about this much per round trip.",
            4096,
            16_777_216,
        ),
    ] = 32_768


class LimitsSettings(Struct, frozen=True, kw_only=True):
    """What a client may ask for, and how much of it at once."""

    streams: Annotated[int, About("Connections at once; further ones get HTTP 503.", 1, 1_000_000)] = 1024
    channels: Annotated[int, About("Channels of one stream.", 1, 64)] = 8
    min_sample_rate: Annotated[int, About("Lowest sample rate of a stream, in Hz.", 4000, 192_000)] = 4000
    max_sample_rate: Annotated[int, About("Highest sample rate of a stream, in Hz.", 4000, 192_000)] = 192_000
    message_bytes: Annotated[
        int, About("Largest message of a client, in bytes; a larger one closes with 1009.", 1024, 268_435_456)
    ] = 1_048_576
    start_timeout_s: Annotated[
        float, About("Time from connecting until the first `start`, in seconds.", 0.1, 86_400)
    ] = 10.0
    idle_timeout_s: Annotated[
        float, About("Time without any message of the client until it is closed, in seconds.", 0.1, 86_400)
    ] = 60.0
    invalid_messages: Annotated[
        int, About("Invalid messages of one connection until it is closed with 1008.", 1, 1_000_000)
    ] = 8
    buffered_audio_s: Annotated[
        float,
        About("Audio of one stream that may wait for the model, in seconds; then reading pauses.", 1, 3600),
    ] = 30.0


class AudioSettings(Struct, frozen=True, kw_only=True):
    """How audio is brought to the model's sample rate."""

    resampler: Annotated[
        str,
        About(
            "Resampler of a stream: `polyphase` has the low delay, `soxr` is the SoX resampler library.",
            choices=("polyphase", "soxr"),
        ),
    ] = "polyphase"
    soxr_quality: Annotated[str, About("Quality of the `soxr` resampler.", choices=("QQ", "LQ", "MQ", "HQ", "VHQ"))] = (
        "HQ"
    )


class VadSettings(Struct, frozen=True, kw_only=True):
    """Voice-activity detection on the segmented route. All but the detector are defaults a client may override."""

    detector: Annotated[
        str,
        About("What tells speech from the rest, frame by frame.", choices=("silero", "energy"), or_attribute=True),
    ] = "silero"
    weights: Annotated[
        str | None, About("Path of the detector's weights; when not set, the installed ones are taken.")
    ] = None
    threshold: Annotated[float, About("Speech begins at this probability.", 0.01, 0.99)] = 0.5
    negative_threshold: Annotated[
        float,
        About(
            "Silence begins below this probability; at most `threshold`, and lowered to it when only that is set.",
            0,
            0.99,
        ),
    ] = 0.35
    prefix_padding_ms: Annotated[int, About("Audio kept before the first speech frame, in ms.", 0, 5000)] = 600
    suffix_padding_ms: Annotated[int, About("Audio kept after the last speech frame, in ms.", 0, 2000)] = 0
    silence_duration_ms: Annotated[int, About("Silence that ends a segment, in ms.", 50, 10_000)] = 600
    min_speech_ms: Annotated[int, About("Shorter speech opens no segment, in ms.", 0, 2000)] = 90
    max_segment_s: Annotated[float, About("A segment this long is cut and goes on, in seconds.", 1, 300)] = 30.0
    interim_interval_ms: Annotated[int, About("Audio between two interim results of a segment, in ms.", 50, 60_000)] = (
        500
    )

    def tunables(self) -> dict[str, Any]:
        """All settings but the detector and its weights, by name: the keywords of vad.VadConfig."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("detector", "weights")}


class InferenceSettings(Struct, frozen=True, kw_only=True):
    """How the model is run."""

    isolation: Annotated[
        str,
        About(
            "Where the model runs: on `threads` of the server's process, or in worker processes (`process`), which "
            "survive a model that crashes, hangs or holds the GIL. One that says it holds the GIL gets them anyway.",
            choices=("threads", "process"),
        ),
    ] = "threads"
    threads: Annotated[
        int, About("Threads that run the model; 0 takes the model's own wish, or one for each CPU.", 0, 1024)
    ] = 0
    processes: Annotated[int, About("Worker processes that run the model; 0: one for each CPU.", 0, 1024)] = 0
    restart_backoff_s: Annotated[
        float,
        About(
            "Time until a worker process that ended is started again, in seconds; doubles with each end in a row, up "
            "to 100 times as long.",
            0.01,
            60,
        ),
    ] = 0.1
    deadline_s: Annotated[
        float, About("Time a call may wait and run in all, in seconds; then it fails.", 0.1, 86_400)
    ] = 60.0
    max_batch_size: Annotated[int, About("Calls that one batch may join, of any streams.", 1, 1024)] = 16
    max_batch_seconds: Annotated[
        float,
        About("Audio of a batch, padding included, in seconds; a longer call runs alone.", 0.1, 86_400),
    ] = 120.0
    batch_window_ms: Annotated[
        float,
        About(
            "Time a batch that is not full waits for more, in ms; 0 takes what is there. A stream that is alone never "
            "waits.",
            0,
            10_000,
        ),
    ] = 0.0
    per_stream: Annotated[
        int,
        About("Calls of one stream that the model may have at once; further ones wait, interims aside.", 1, 1024),
    ] = 4
    max_jobs: Annotated[
        int, About("Calls of all streams that may wait for the model; further ones fail.", 1, 1_000_000)
    ] = 4096
    max_seconds: Annotated[
        float,
        About(
            "Audio of all streams that may wait for the model, in seconds; 64 KB each at 16 kHz. Further calls fail.",
            1,
            10_000_000,
        ),
    ] = 3600.0
    stream_jobs: Annotated[
        int, About("Calls of one stream that may wait for the model; further ones fail.", 1, 1_000_000)
    ] = 512
    stream_seconds: Annotated[
        float,
        About("Audio of one stream that may wait for the model, in seconds; further calls fail.", 1, 10_000_000),
    ] = 600.0
    warm_up: Annotated[bool, About("Run the model once before the server says it is ready.")] = True


class SimpleSettings(Struct, frozen=True, kw_only=True):
    """How audio is grouped into calls of the model on the simple and the stateful route."""

    min_chunk_ms: Annotated[int, About("Least audio of a call, in ms; the last one may be shorter.", 0, 60_000)] = 100
    max_chunk_s: Annotated[float, About("Most audio of a call, in seconds.", 0.1, 3600)] = 30.0


class ModelSettings(Struct, frozen=True, kw_only=True):
    """Which model is served, and the arguments of its constructor.

    In a file, every key of the section but ``name`` is such an argument; the section may also be a plain string, the
    name alone.
    """

    name: Annotated[
        str, About("A built-in or installed name, `name:ARGUMENT`, or `pkg.module:attr` of a model or function.")
    ] = "features"
    options: Mapping[str, Any] = field(default_factory=dict)


class Config(Struct, frozen=True, kw_only=True):
    """All settings. Made by :func:`load_config`, which checks them; the constructor itself does not."""

    server: ServerSettings = ServerSettings()
    limits: LimitsSettings = LimitsSettings()
    audio: AudioSettings = AudioSettings()
    vad: VadSettings = VadSettings()
    inference: InferenceSettings = InferenceSettings()
    simple: SimpleSettings = SimpleSettings()
    model: ModelSettings = ModelSettings()

    def to_toml(self) -> str:
        """See :func:`dump_toml`."""
        return dump_toml(self)


class _Setting(NamedTuple):
    key: str  # dotted
    kind: type  # bool, int, float or str
    optional: bool
    default: Any
    about: About

    @property
    def allowed(self) -> str:
        """The values that are allowed, in words."""
        about = self.about
        if about.choices:
            choices = " or ".join(filter(None, [", ".join(about.choices[:-1]), about.choices[-1]]))
            return f"{', '.join(about.choices)} or pkg.module:attr" if about.or_attribute else choices
        if about.minimum is not None:
            return f"{_plain(about.minimum)}..{_plain(about.maximum)}"
        return {"bool": "true or false", "str": "a string"}[self.kind.__name__]


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_SECTIONS: Final[dict[str, type[Struct]]] = {
    name: kind for name, kind in typing.get_type_hints(Config).items() if isinstance(kind, type)
}


def _settings() -> Iterator[_Setting]:
    for section, kind in _SECTIONS.items():
        defaults = kind()
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            if typing.get_origin(hint) is not Annotated:
                continue
            base, about = typing.get_args(hint)
            optional = isinstance(base, types.UnionType)
            if optional:
                base = typing.get_args(base)[0]
            yield _Setting(f"{section}.{name}", base, optional, getattr(defaults, name), about)


_SETTINGS: Final = {setting.key: setting for setting in _settings()}

#: The knobs of the dummy model that may stand in the ``model`` object of a streamer-template ``config.json``.
_DUMMY_KNOBS: Final = frozenset({"delay", "constant_factor", "jitter", "failure_rate", "panic_rate", "warmup_penalty"})
#: Environment variables that start with VOXGATE_ and are no settings: read elsewhere, or by load_config itself.
_RESERVED_VARIABLES: Final = frozenset({"VOXGATE_CONFIG", "VOXGATE_ISA", "VOXGATE_BUILD", "VOXGATE_TOKEN"})
_PREFIX: Final = "VOXGATE_"
_DEFAULT_PATH: Final = "voxgate.toml"
_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_INTEGER = re.compile(r"[+-]?[0-9](_?[0-9])*")
_FLOAT = re.compile(r"[+-]?([0-9](_?[0-9])*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_ECHO_CHARACTERS: Final = 80


def load_config(
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The effective settings: defaults < file < environment < overrides.

    ``path`` is a .toml or .json file. Without it, ``VOXGATE_CONFIG`` names one; without that, ``voxgate.toml`` in the
    current directory is taken if it is there. ``environ`` is the process's own when None. ``overrides`` are values by
    dotted key (``"server.port"``), as flags give them: None means "not given", and a string is converted by the
    setting's type. ``"model"`` is short for ``"model.name"``, and any other ``"model.<name>"`` is an argument of the
    model's constructor.

    A source that names another model than the sources before it drops their arguments: they belong to that model.

    Raises ConfigError naming the key, the value, what is allowed, and the source.
    """
    environ = os.environ if environ is None else environ
    loader = _Loader()
    if path is None:
        path = environ.get("VOXGATE_CONFIG") or None
    if path is not None:
        loader.add_file(Path(path))
    elif Path(_DEFAULT_PATH).is_file():
        loader.add_file(Path(_DEFAULT_PATH))
    loader.add_environment(environ)
    loader.add_overrides(overrides or {})
    return loader.finish()


class _Loader:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.model_name = ModelSettings().name
        self.model_options: dict[str, Any] = {}

    # sources

    def add_file(self, path: Path) -> None:
        source = f"file {path}"
        content = _read(path)
        model: Mapping[str, Any] = {}
        for section, table in content.items():
            if section not in _SECTIONS:
                raise _unknown_section(section, source)
            if section == "model" and isinstance(table, str):
                table = {"name": table}
            if not isinstance(table, dict):
                raise ConfigError(f"{section}: expected a table of settings, got {_show(table)} ({source})")
            if section == "model":
                model = table
                continue
            for name, value in table.items():
                self.set(f"{section}.{name}", value, source, is_text=False)
        if model and "name" not in model:
            if not _DUMMY_KNOBS.issuperset(model):
                raise ConfigError(
                    f"model.name: expected the name of the model that {_listed(sorted(model))} belong to, "
                    f"got nothing ({source})"
                )
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
            if section == "model":
                name = name or "name"
                if name in model:
                    raise ConfigError(f"model.{name}: expected once, got several ({sources[name]}; {source})")
                model[name], sources[name] = environ[variable], source
            else:
                if section not in _SECTIONS or not name:
                    raise _unknown_variable(variable)
                self.set(f"{section}.{name}", environ[variable], source, is_text=True)
        self.set_model(model, sources, is_text=True)

    def add_overrides(self, overrides: Mapping[str, Any]) -> None:
        model: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for key, value in overrides.items():
            if value is None:
                continue
            source = f"flag {key}"
            section, _, name = key.partition(".")
            if section == "model":
                model[name or "name"], sources[name or "name"] = value, source
            else:
                if section not in _SECTIONS or not name:
                    raise _unknown_section(section, source)
                self.set(key, value, source, is_text=isinstance(value, str))
        self.set_model(model, sources, is_text=True)

    # values

    def set(self, key: str, value: Any, source: str, *, is_text: bool) -> None:
        setting = _SETTINGS.get(key)
        if setting is None:
            raise _unknown_key(key, source)
        self.values[key] = _convert(setting, value, source, is_text=is_text)
        self.sources[key] = source

    def set_model(self, model: Mapping[str, Any], sources: Mapping[str, str], *, is_text: bool) -> None:
        if "name" in model:
            name = _convert(_SETTINGS["model.name"], model["name"], sources["name"], is_text=False)
            if name != self.model_name:
                self.model_options.clear()
            self.model_name = name
        for name, value in model.items():
            if name == "name":
                continue
            if not name.isidentifier():
                raise ConfigError(
                    f"model.{name}: expected the name of a constructor argument, got {_show(name)} ({sources[name]})"
                )
            if is_text and isinstance(value, str):
                value = _literal(value)
            _check_option(f"model.{name}", value, sources[name])
            self.model_options[name] = value

    def finish(self) -> Config:
        if "vad.negative_threshold" not in self.values and "vad.threshold" in self.values:
            # As for a client that sends a threshold alone (vad.VadConfig.changed).
            default = _SETTINGS["vad.negative_threshold"].default
            self.values["vad.negative_threshold"] = min(default, self.values["vad.threshold"])
        self._ordered("vad.negative_threshold", "vad.threshold")
        self._ordered("limits.min_sample_rate", "limits.max_sample_rate")
        self._ordered("simple.min_chunk_ms", "simple.max_chunk_s", 1000)
        sections: dict[str, Any] = {}
        for section, kind in _SECTIONS.items():
            prefix = f"{section}."
            given = {key.removeprefix(prefix): self.values[key] for key in self.values if key.startswith(prefix)}
            if section == "model":
                given = {"name": self.model_name, "options": self.model_options}
            sections[section] = kind(**given)
        return Config(**sections)

    def _ordered(self, low: str, high: str, factor: float = 1) -> None:
        values = [self.values.get(key, _SETTINGS[key].default) for key in (low, high)]
        if values[0] > values[1] * factor:
            sources = "; ".join(dict.fromkeys(self.sources.get(key, "default") for key in (low, high)))
            raise ConfigError(
                f"{low} must be at most {high} ({_plain(values[1])}), got {_plain(values[0])} ({sources})"
            )


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
        raise ConfigError(f"{path}: expected an object of sections, got {_show(content)}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ConfigError(f"{key}: expected once, got several")
        table[key] = value
    return table


def _convert(setting: _Setting, value: Any, source: str, *, is_text: bool) -> Any:
    kind: type[Any] = setting.kind
    about = setting.about
    result: Any = value
    if setting.optional and (value is None or (is_text and value == "")):
        return None
    if is_text and kind is not str:
        result = _from_text(kind, value)
    elif kind is float and type(value) is int:
        result = float(value) if abs(value) < 2**53 else None
    if (
        result.__class__ is not kind
        or (kind is float and not math.isfinite(result))
        or (kind is str and not (result and _is_unicode(result)))
        or (about.minimum is not None and result < about.minimum)
        or (about.maximum is not None and result > about.maximum)
        or (about.choices and result not in about.choices and not (about.or_attribute and _ATTRIBUTE.fullmatch(result)))
    ):
        type_name = {"int": "an integer ", "float": "a number "}.get(kind.__name__, "")
        close = difflib.get_close_matches(str(value), about.choices, 1) if about.choices else []
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"{setting.key} must be {type_name}{setting.allowed}, got {_show(value)}{hint} ({source})")
    return result


def _from_text(kind: type, text: str) -> Any:
    text = text.strip()
    if kind is bool:
        return _BOOLEANS.get(text.lower())
    if kind is int:
        return int(text) if _INTEGER.fullmatch(text) and len(text) < 64 else None
    return float(text) if _FLOAT.fullmatch(text) else None


def _literal(text: str) -> Any:
    """A model's argument from the environment or a flag: true, false, an integer, a number, or else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and len(text) < 64:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _check_option(key: str, value: Any, source: str) -> None:
    """Only what TOML can say: then every configuration can be printed and read again."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str) or not _is_unicode(name):
                raise ConfigError(f"{key}: expected keys that are strings, got {_show(name)} ({source})")
            _check_option(f"{key}.{name}", item, source)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_option(f"{key}[{index}]", item, source)
    elif value is None:
        raise ConfigError(f"{key}: expected a value, got null; leave the key out instead ({source})")
    elif isinstance(value, str):
        if not _is_unicode(value):
            raise ConfigError(f"{key}: expected a string of Unicode characters, got {_show(value)} ({source})")
    elif not isinstance(value, bool | int | float | datetime.date | datetime.time):
        raise ConfigError(
            f"{key}: expected a string, number, boolean, date, list or table, got {type(value).__name__} ({source})"
        )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# errors


def _show(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**_ECHO_CHARACTERS:
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value) if isinstance(value, str) and not _is_unicode(value) else json.dumps(value, default=str)
    return text if len(text) <= _ECHO_CHARACTERS else f"{text[: _ECHO_CHARACTERS - 1]}…"


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _unknown_section(section: str, source: str) -> ConfigError:
    close = difflib.get_close_matches(section, _SECTIONS, 1)
    keys = [key for key in _SETTINGS if key.rpartition(".")[2] == section]
    hint = f" (did you mean {(keys or close)[0]}?)" if keys or close else ""
    return ConfigError(f"{_cut(section)}: unknown section{hint}; sections: {_listed(list(_SECTIONS))} ({source})")


def _unknown_key(key: str, source: str) -> ConfigError:
    section, _, name = key.partition(".")
    names = [known.partition(".")[2] for known in _SETTINGS if known.startswith(f"{section}.")]
    elsewhere = [known for known in _SETTINGS if known.partition(".")[2] == name]
    close = [f"{section}.{match}" for match in difflib.get_close_matches(name, names, 1)]
    hint = f" (did you mean {(close or elsewhere)[0]}?)" if close or elsewhere else ""
    return ConfigError(f"{_cut(key)}: unknown setting{hint}; settings in {section}: {_listed(names)} ({source})")


def _unknown_variable(variable: str) -> ConfigError:
    known = [_variable(key) for key in _SETTINGS] + ["VOXGATE_MODEL", *_RESERVED_VARIABLES]
    close = difflib.get_close_matches(variable, known, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return ConfigError(
        f"{_cut(variable)}: unknown variable{hint}; settings are VOXGATE_<SECTION>_<KEY>, "
        f"sections: {_listed(list(_SECTIONS))} (environment {_cut(variable)})"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _ECHO_CHARACTERS else f"{text[: _ECHO_CHARACTERS - 1]}…"


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "_").upper()


# ---------------------------------------------------------------------------------------------------- TOML out


def dump_toml(config: Config) -> str:
    """The settings as TOML that loads back to an equal Config. A setting without a value stands as a comment."""
    lines: list[str] = []
    for section in _SECTIONS:
        values = getattr(config, section)
        lines.append(f"[{section}]")
        for setting in _SETTINGS.values():
            name = setting.key.removeprefix(f"{section}.")
            if name == setting.key:
                continue
            value = getattr(values, name)
            lines.append(f"# {name} is not set" if value is None else f"{name} = {_toml(value)}")
        if section == "model":
            lines += [f"{_toml_key(name)} = {_toml(value)}" for name, value in config.model.options.items()]
        lines.append("")
    return "\n".join(lines)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml(key)


def _toml(value: Any) -> str:
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


# --------------------------------------------------------------------------------------------------- reference

_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m voxgate.config`. Change the settings in src/voxgate/config.py, not this file. -->

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
environment, `VOXGATE_MODEL` is the name and `VOXGATE_MODEL_<KEY>` an argument (`true`, `false` and numbers are
converted, everything else is a string). In a file, the section may be a plain string, the name alone:
`model = "dummy"`.

The `config.json` of streamer-template loads as it is: a `model` object without a name, with `delay`, `constant_factor`,
`jitter`, `failure_rate`, `panic_rate` or `warmup_penalty`, means the `dummy` model with these arguments.

A source that names another model than the sources before it drops their arguments: they belong to that model.
"""

_OTHER_VARIABLES = """\
## Variables that are not settings

| variable | meaning |
|---|---|
| `VOXGATE_CONFIG` | path of the file |
| `VOXGATE_ISA` | forces the instruction set of the compiled kernels: `portable`, `avx2`, `avx512` or `neon` |
| `VOXGATE_BUILD` | read when the package is built: the kind of build |
| `VOXGATE_TOKEN` | read by `voxgate client`: its credentials |

Any other variable that starts with `VOXGATE_` is an error: it is a setting misspelt.
"""


def reference() -> str:
    """The reference of all settings, in Markdown."""
    parts = [_INTRODUCTION]
    for section, kind in _SECTIONS.items():
        lines = [f"## {section}", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for setting in _SETTINGS.values():
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


if __name__ == "__main__":
    print(reference(), end="")
