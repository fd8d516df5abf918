"""docs/configuration.md: every setting is on it, and the defaults that it shows are those of the server."""

from __future__ import annotations

import re
from pathlib import Path

from tools.reference.configuration import configuration
from voxgate.config import SETTINGS, Config, load_config

PAGE = configuration()


def rows() -> dict[str, str]:
    """Dotted name -> the default as the table shows it."""
    found, section = {}, ""
    for line in PAGE.splitlines():
        if header := re.fullmatch(r"## (\w+)", line):
            section = header[1]
        elif row := re.match(r"\| `(\w+)` \| (not set|`[^`]+`) \| ", line):
            found[f"{section}.{row[1]}"] = row[2]
    return found


def test_the_page_names_every_setting_with_its_default():
    shown = rows()
    assert set(shown) == set(SETTINGS)
    for key, setting in SETTINGS.items():
        assert (shown[key] == "not set") == (setting.default is None), key
    assert shown["server.port"] == "`8080`"
    assert shown["server.drain_s"] == "`30.0`"
    assert shown["server.host"] == '`"127.0.0.1"`'
    assert shown["server.tls_key"] == "not set"


def test_every_row_has_as_many_cells_as_its_table():
    tables = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in tables} == {3, 5}


def test_its_defaults_can_be_loaded(tmp_path: Path):
    lines = [f"{key} = {value.strip('`')}\n" for key, value in rows().items() if value != "not set"]
    file = tmp_path / "voxgate.toml"
    file.write_text("".join(lines), encoding="utf-8")
    assert load_config(file, environ={}) == Config()
