"""The catalogue: every setting, its range and its default."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from voxgate.config import SETTINGS, Config, loader
from voxgate.config.catalogue import SECTIONS
from voxgate.errors import ConfigError


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_default_is_allowed_and_described(setting: Any) -> None:
    if not setting.is_optional:
        assert loader._convert(setting, setting.default, "", is_text=False) == setting.default
        assert type(setting.default) is setting.kind
    assert setting.description.endswith(".")
    assert setting.kind in (bool, str) or setting.minimum is not None


RANGED = {key: setting for key, setting in SETTINGS.items() if setting.minimum is not None}


@pytest.mark.parametrize("setting", RANGED.values(), ids=RANGED.keys())
def test_every_range_is_kept_and_both_ends_belong_to_it(setting: Any) -> None:
    convert = loader._convert
    for end, step in ((setting.minimum, -1), (setting.maximum, 1)):
        value = setting.kind(end)
        assert convert(setting, value, "here", is_text=False) == value
        outside = value + step if setting.kind is int else value + step * 1e-6
        with pytest.raises(ConfigError, match=rf"^{setting.key} must be an? \w+ .*\.\..*, got .* \(here\)$"):
            convert(setting, outside, "here", is_text=False)


def test_every_field_of_every_section_is_a_setting() -> None:
    fields = {f"{section}.{field}" for section, kind in SECTIONS.items() for field in kind.__struct_fields__}
    assert fields - {"model.options"} == set(SETTINGS)
    assert {field.name for field in msgspec.structs.fields(Config)} == set(SECTIONS)
