"""load_config: TOML, JSON, environment and flags. Settings or a ConfigError; settings are printed so that they load."""

from __future__ import annotations

import atexit
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fuzz.source import Source
from voxgate.config import SETTINGS, Config, dump_toml, load_config
from voxgate.errors import ConfigError

FOLDER = Path(tempfile.mkdtemp(prefix="voxgate-fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
KEYS = sorted(SETTINGS)
SECRET = "hush-hush-hush"
TEXTS = ("", "0", "-1", "1_000", "true", "yes", "nan", "inf", "1e9", "process", "a.b:c", "x" * 300, "\ud800", "\x7f")


def loaded(name: str, content: bytes, environ: dict[str, str], overrides: dict[str, Any]) -> Config | None:
    path = FOLDER / name
    path.write_bytes(content)
    try:
        return load_config(path, environ, overrides)
    except ConfigError as error:
        assert str(error)
        assert SECRET not in str(error)
        return None


def a_value(source: Source) -> str:
    kind = source.integer(0, 2)
    if kind == 0:
        return source.pick(TEXTS)
    if kind == 1:
        return str(source.integer(-(2**40), 2**40) / 100)
    return source.take(source.integer(0, 12)).decode("utf-8", "surrogateescape")


def a_json_value(source: Source, key: str) -> str:
    """Nearly always one that the setting may have."""
    setting = SETTINGS[key]
    low, high = setting.minimum, setting.maximum
    if setting.is_secret:
        secret = json.dumps(SECRET + source.pick(("", ",", "\ud800")))
        return f"[{secret}]" if source.integer(0, 7) == 0 else secret
    if source.integer(0, 15) == 0:
        return source.json_value()
    if setting.choices:
        return json.dumps(source.pick(setting.choices))
    if low is None or high is None:
        return json.dumps(source.pick([True, False]) if setting.kind is bool else 'a "b" \\ \x7f é')
    if setting.kind is int:
        return str(source.integer(int(low), int(high)))
    return repr(low + (high - low) * source.integer(0, 1000) / 1000)


def has_nan(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(has_nan, value.values()))
    if isinstance(value, list):
        return any(map(has_nan, value))
    return isinstance(value, float) and math.isnan(value)


def fuzz(data: bytes) -> None:
    source = Source(data)
    kind = source.integer(0, 3)
    if kind == 3:  # a file of settings that exist
        tables: dict[str, dict[str, str]] = {}
        for _ in range(source.integer(0, 6)):
            section, _, name = source.pick(KEYS).partition(".")
            tables.setdefault(section, {})[name] = a_json_value(source, f"{section}.{name}")
        sections = ((section, source.json_object(table)) for section, table in tables.items())
        text = "{" + ",".join(f'"{section}":{table}' for section, table in sections) + "}"
        name, content = "a.json", text.encode("utf-8", "replace")
        environ, overrides = {}, {}
    else:
        environ = {
            "VOXGATE_" + source.pick(KEYS).replace(".", "_").upper(): a_value(source) for _ in range(source.size(4))
        }
        if source.flag():
            environ["VOXGATE_AUTH_TOKENS"] = SECRET + source.pick(("", ",", "\ud800"))
            environ[source.pick(["VOXGATE_MODEL_", "VOXGATE_", "VOXGATE_X_Y"]) + a_value(source)] = a_value(source)
        keys = [*KEYS, "model", "model.delay", "model.", ".", "limits", "nowhere.x"]
        overrides = {source.pick(keys): a_value(source) for _ in range(source.size(4))}
        name, content = source.pick(["a.toml", "a.json", "a.ini"]), source.rest()
    config = loaded(name, content, environ, overrides)
    if config is None:
        return
    printed = dump_toml(config)
    assert SECRET not in printed
    assert SECRET not in repr(config)
    again = loaded("printed.toml", printed.encode(), {}, {})
    assert again is not None, printed
    if not has_nan(config.model.options):
        known = msgspec.structs.replace(config, auth=msgspec.structs.replace(config.auth, tokens=again.auth.tokens))
        assert again == known, printed
    if not config.auth.tokens:  # printed as a comment that says so
        assert dump_toml(again) == printed


SEEDS = [
    bytes(7) + b"[server]\nport = 80\n[limits]\nstreams = 5\n[vad]\nthreshold = 0.4\n[inference]\nwarm_up = false\n",
    bytes(7) + b'model = "dummy"\n',
    bytes([0, 0, 0, 0, 0, 0, 1]) + b'{"model":{"delay":0.5,"panic_rate":0.1}}',
    bytes(7) + b'[model]\nname = "a.b:c"\nwhen = 1979-05-27T07:32:00Z\nx = [1, {a = inf}]\n',
    b"\x03" + bytes(range(150)),
    b"\x03\x06" + bytes(range(255, 100, -1)),
    bytes([2, 0, 0, 0, 4, 0, 99, 1, 9, 9]) + bytes(range(60)),
]
