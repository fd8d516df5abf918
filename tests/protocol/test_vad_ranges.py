"""The ranges of the VAD options, in the documents, the settings and a client's start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voxgate.config import SETTINGS
from voxgate.protocol.requests import VadOptions
from voxgate.protocol.vad_ranges import VAD_RANGES, VadRange

ROOT = Path(__file__).parents[2]


def test_every_option_of_a_client_has_a_range() -> None:
    assert set(VadOptions.__struct_fields__) == set(VAD_RANGES) - {"interim_interval_ms"}


def test_the_settings_have_these_ranges() -> None:
    for name, (lowest, highest, unit) in VAD_RANGES.items():
        setting = SETTINGS[f"vad.{name}"]
        assert (setting.minimum, setting.maximum) == (lowest, highest)
        assert name.endswith(f"_{unit}" if unit else "threshold")


def test_protocol_md_states_these_ranges() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| [\d.]+ \| ([\d.]+)\.\.([^,| ]+)", text, re.MULTILINE)
    stated = {name: (float(lowest), highest) for name, lowest, highest in rows if name in VAD_RANGES}
    expected = {
        name: (VAD_RANGES[name].lowest, f"{VAD_RANGES[name].highest:g}") for name in VadOptions.__struct_fields__
    }
    assert stated == expected | {"negative_threshold": (0.0, "`threshold`")}


@pytest.mark.parametrize("value", [0.5, 1, 2.0])
def test_a_number_of_the_range(value: float) -> None:
    VadRange(0.5, 2, "s").check("max_s", value)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.25, "0.25"), (3, "3"), (True, "true"), ("1", '"1"'), (float("nan"), "NaN"), (None, "null")]
)
def test_what_is_no_number_of_the_range(value: object, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"max_s must be 0.5..2 s, got {shown}")):
        VadRange(0.5, 2, "s").check("max_s", value)
