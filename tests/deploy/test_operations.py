"""docs/operations.md leaves nothing out: every limit with its default, every refusal, every close code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import voxgate.errors
from voxgate.config import SETTINGS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
LIMITS = TEXT.partition("## Every limit")[2].partition("\n## ")[0]
ANSWERS = TEXT.partition("## Every refusal")[2].partition("\n## ")[0]


@pytest.mark.parametrize("key", [key for key in SETTINGS if key.startswith("limits.")])
def test_every_limit_is_there(key):
    assert f"`{key}`" in LIMITS


def test_the_defaults_are_those_of_the_settings():
    units = {"": 1, " s": 1, " ms": 1, " Hz": 1, " h": 3600, " MiB": 2**20}
    checked = set()
    for names, numbers in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", LIMITS, re.MULTILINE):
        keys = re.findall(r"`([^`]+)`", names)
        for key, default in zip(keys, numbers.split(", "), strict=True):
            number, unit = re.fullmatch(r"(\d+)(\D*)", default).groups()
            assert SETTINGS[key].default == int(number) * units[unit], key
            checked.add(key)
    assert {key for key in SETTINGS if key.startswith("limits.")} <= checked


def test_every_code_of_the_source_is_there():
    errors = [getattr(voxgate.errors, name) for name in voxgate.errors.__all__]
    for code in {error.close_code for error in errors if error.close_code} | {1000, 1001, 1009}:
        assert re.search(rf"^\| {code} \|", ANSWERS, re.MULTILINE), code
    source = "".join(path.read_text() for path in (ROOT / "src" / "voxgate").rglob("*.py"))
    refusals = re.findall(r'Refusal\(\s*(\d{3}), "(\w+)"', source)
    assert len(refusals) > 6
    for status, reason in refusals:
        assert re.search(rf"^\| {status} \|.*`{reason}`", ANSWERS, re.MULTILINE), (status, reason)
