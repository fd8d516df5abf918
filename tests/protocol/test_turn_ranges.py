"""The ranges are those of all options that a client may tune, and of the settings of these names."""

from __future__ import annotations

from voxgate.config import SETTINGS
from voxgate.protocol.requests import TurnOptions
from voxgate.protocol.turn_ranges import TURN_RANGES


def test_they_are_those_of_the_options():
    assert {*TURN_RANGES, "enabled"} == set(TurnOptions.__struct_fields__)


def test_they_are_those_of_the_settings():
    for name, allowed in TURN_RANGES.items():
        setting = SETTINGS[f"turn.{name}"]
        assert (setting.minimum, setting.maximum) == (allowed.lowest, allowed.highest)
